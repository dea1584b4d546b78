#include "checkpoint/bench_checkpoint.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"
#include "checkpoint/writer.hpp"
#include "storage/publish.hpp"

namespace rondo::checkpoint {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::vector<double>;

constexpr int64_t kRows = 2048;
constexpr int64_t kColumns = 2048;
constexpr const char* kName = "bench";

double median(Seconds seconds) {
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

// Weights and two moments of as many matrices as make up the bytes, and this rank's even part of
// each, as data-parallel ranks own them.
class State {
 public:
  State(int64_t bytes, comm::Control& control) {
    const int64_t each = int64_t{3} * 4 * kRows * kColumns;
    const int64_t matrices = std::max<int64_t>(1, bytes / each);
    const base::Slice mine = base::even_part(kRows * kColumns, control.size(), control.rank());
    values_.resize(static_cast<size_t>(3 * matrices * mine.size()));
    for (size_t i = 0; i < values_.size(); ++i) values_[i] = static_cast<float>(i % 8191) * 0.5F;
    const float* next = values_.data();
    for (int64_t m = 0; m < matrices; ++m) {
      for (const char* kind : {"", "optimizer/exp_avg/", "optimizer/exp_avg_sq/"}) {
        request_.pieces.push_back({request_.tensors.size(), mine, next, 0});
        request_.tensors.push_back({fmt::format("{}layers.{}.weight", kind, m), {kRows, kColumns}});
        next += mine.size();
      }
    }
    request_.name = kName;
    request_.state = nlohmann::json::object();
    request_.finite = true;
    bytes_ = matrices * each;
  }

  const SaveRequest& request() const { return request_; }
  SaveRequest& request() { return request_; }
  const std::vector<float>& values() const { return values_; }
  int64_t bytes() const { return bytes_; }  // over all ranks

 private:
  std::vector<float> values_;
  SaveRequest request_;
  int64_t bytes_ = 0;
};

class Bench {
 public:
  Bench(const BenchSettings& settings, comm::Control& control)
      : settings_(settings), control_(control), state_(settings.bytes, control) {
    std::string folder;
    control.on_first([&] {
      storage::check_writable(settings.folder);
      folder = fmt::format("{}/rondo-bench-{}", settings.folder, storage::unique_id().substr(0, 8));
      fs::create_directory(folder);
    });
    folder_ = control.broadcast_text(folder);
    state_.request().folder = folder_;
    state_.request().writer_group = control.rank() / settings.ranks_per_shard;
  }
  ~Bench() {
    if (control_.is_first()) delete_folder(folder_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  nlohmann::json run() {
    Seconds plain, saved, published, stalls, copies, loads;
    Writer at_once(control_);
    Writer background(control_, std::ssize(state_.values()));
    std::vector<float> target(state_.values().size(), 1.0F);
    // The first is for the page cache and the plans.
    for (int repeat = 0; repeat <= settings_.repeats; ++repeat) {
      const auto keep = [&](Seconds& list, double seconds) {
        if (repeat > 0) list.push_back(seconds);
      };
      // A file was written and removed right before each of the two, so that both find the same
      // free memory for the page cache: on virtual machines the first touch of other memory is
      // slow.
      write_plain();
      remove_all();
      keep(plain, timed([&] { write_plain(); }));
      remove_all();
      keep(saved, timed([&] {
             at_once.begin(state_.request());
             at_once.finish();
           }));
      keep(loads, timed([&] { load(target); }));
      RONDO_CHECK(target == state_.values());
      remove_all();
      keep(copies,
           timed([&] { std::memcpy(target.data(), state_.values().data(), 4 * target.size()); }));
      keep(stalls, timed([&] { background.begin(state_.request()); }));
      while (control_.any_true(!background.written())) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      keep(published, timed([&] { background.finish(); }));
      remove_all();
    }
    const auto speed = [&](const Seconds& seconds) {
      return static_cast<double>(state_.bytes()) / median(seconds);
    };
    const auto figures = [&](const Seconds& seconds) {
      return nlohmann::json{{"bytes_per_s", speed(seconds)}, {"seconds", seconds}};
    };
    return {{"bench", "checkpoint"},
            {"ranks", control_.size()},
            {"bytes", state_.bytes()},
            {"repeats", settings_.repeats},
            {"plain_write", figures(plain)},
            {"save", figures(saved)},
            {"load_and_verify", figures(loads)},
            {"background_stall", figures(stalls)},
            {"background_publish", {{"seconds", published}}},
            {"copy", figures(copies)},
            {"save_share_of_plain_write", median(plain) / median(saved)},
            {"stall_over_copy", median(stalls) / median(copies)}};
  }

 private:
  // Collective. Wall time of the slowest rank.
  double timed(const std::function<void()>& action) {
    control_.barrier();
    const auto start = Clock::now();
    action();
    control_.barrier();
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  void remove_all() {
    control_.on_first([&] {
      for (const auto& entry : fs::directory_iterator(folder_)) fs::remove_all(entry.path());
      base::sync_folder(folder_);
    });
  }

  void write_plain() {
    control_.on_first([&] {
      constexpr int64_t kPiece = int64_t{1} << 20;
      const std::vector<std::byte> piece(static_cast<size_t>(kPiece));
      base::File file = base::File::create(folder_ + "/plain");
      for (int64_t at = 0; at < state_.bytes(); at += kPiece) {
        const auto count = static_cast<size_t>(std::min(kPiece, state_.bytes() - at));
        file.write_at(at, std::span(piece).first(count));
      }
      file.sync_data();
      file.close();
    });
  }

  void load(std::vector<float>& target) {
    const auto opened = Checkpoint::open(folder_ + "/" + kName, control_, Verify::kFull);
    float* to = target.data();
    for (const Piece& piece : state_.request().pieces) {
      opened.read(state_.request().tensors[piece.tensor].name, piece.elements, to);
      to += piece.elements.size();
    }
  }

  const BenchSettings& settings_;
  comm::Control& control_;
  State state_;
  std::string folder_;
};

}  // namespace

nlohmann::json bench_checkpoint(const BenchSettings& settings, comm::Control& control) {
  return Bench(settings, control).run();
}

}  // namespace rondo::checkpoint
