#include "checkpoint/writer.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <optional>
#include <span>
#include <sstream>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "checkpoint/catalogue.hpp"
#include "checkpoint/digest.hpp"
#include "checkpoint/layout.hpp"
#include "checkpoint/logical.hpp"
#include "checkpoint/manifest.hpp"
#include "checkpoint/shard_file.hpp"
#include "storage/publish.hpp"

namespace rondo::checkpoint {

namespace fs = std::filesystem;

namespace {

// Bytes of manifest, logical.h5 and file headers, roughly: for the check of free space.
constexpr int64_t kOverhead = int64_t{1} << 20;

void check_tensors(const SaveRequest& request) {
  RONDO_CHECK(!request.tensors.empty(), "checkpoint {} has no tensors", request.name);
  for (const LogicalTensor& tensor : request.tensors) {
    RONDO_CHECK(!tensor.name.empty() && !tensor.shape.empty() &&
                    std::all_of(tensor.shape.begin(), tensor.shape.end(),
                                [](int64_t size) { return size >= 1; }),
                "tensor '{}' has no name or an empty shape", tensor.name);
  }
}

std::string tensors_hash(const std::vector<LogicalTensor>& tensors) {
  base::Hasher same;
  for (const LogicalTensor& tensor : tensors) {
    same.add(fmt::format("{} {};", tensor.name, nlohmann::json(tensor.shape).dump()));
  }
  return same.hex();
}

}  // namespace

// Where everything lies: the same for every save of the same tensors and pieces.
struct Writer::Plan {
  std::string key;      // of this rank: its pieces and its writer group
  std::string logical;  // bytes of logical.h5, on rank 0; empty until the first save
  Layout layout;        // parts without CRCs, shards without what surrounds the elements
};

class Writer::Save {
 public:
  Save(SaveRequest request, comm::Control& control, Existing existing)
      : request_(std::move(request)), control_(control), existing_(existing) {}
  ~Save() {
    if (thread_.joinable()) thread_.join();
  }
  Save(const Save&) = delete;
  Save& operator=(const Save&) = delete;

  // Collective, as is finish(), and called in this order. Works out what lies where unless that is
  // known from a save of the same pieces.
  void plan(std::unique_ptr<Plan>& known);
  void reserve();
  void make_shards(Plan& plan);
  // Copies this rank's pieces to `staging` where it is not empty, and starts to write them.
  void snapshot(std::span<float> staging);

  bool written() const { return written_; }
  SaveResult finish();

  int64_t elements() const {
    int64_t count = 0;
    for (const Piece& piece : request_.pieces) count += piece.elements.size();
    return count;
  }

 private:
  std::string target() const { return request_.folder + "/" + request_.name; }
  std::string logical_path() const { return fmt::format("{}/{}", temporary_, kLogicalFile); }
  const Place& my_place() const { return layout_.places[static_cast<size_t>(control_.rank())]; }
  std::string my_shard() const { return temporary_ + "/" + layout_.shards[my_place().shard].file; }

  // Does `action` on every rank, then tells the fault seam; all ranks go on or all throw.
  template <class Action>
  void step(std::string_view point, Action action) {
    control_.agree([&] {
      action();
      if (request_.fault) request_.fault(point);
    });
  }

  void check_owner() const {
    if (request_.check_owner) request_.check_owner();
  }
  void remove_if_bad() const;
  void write_pieces(std::span<const float> staged);
  // Gathers what was written. Returns the first tensor that is not finite, if any.
  std::string collect();
  void write_manifest();
  void publish();

  SaveRequest request_;
  comm::Control& control_;
  const Existing existing_;
  Layout layout_;
  std::optional<storage::FolderPublisher> publisher_;  // on rank 0
  std::string temporary_;
  std::string id_;
  std::string logical_;  // bytes of logical.h5, on rank 0
  std::thread thread_;
  // Of the thread, until it is joined.
  WrittenPart part_;
  std::exception_ptr failed_;
  std::atomic<bool> written_ = false;
  Manifest manifest_;
};

void Writer::Save::plan(std::unique_ptr<Plan>& known) {
  std::string key;
  control_.agree([&] {
    check_name(request_.name);
    check_tensors(request_);
    request_.pieces = in_stored_order(request_.tensors, std::move(request_.pieces));
    key = pieces_text(request_.pieces);
  });
  const std::string hash = tensors_hash(request_.tensors);
  control_.same_on_all_ranks(
      fmt::format("{} step {} tensors {}", request_.name, request_.step, hash),
      "the checkpoint to save");
  key = fmt::format("{} {}\n{}", hash, request_.writer_group, key);
  if (control_.any_true(!known || known->key != key)) {
    auto fresh = std::make_unique<Plan>();
    const size_t pieces_begin = key.find('\n') + 1;
    const auto texts = control_.gather_text(key.substr(pieces_begin));
    std::vector<int> groups;
    for (const auto& text : control_.gather_text(std::to_string(request_.writer_group))) {
      groups.push_back(std::stoi(text));
    }
    fresh->layout = lay_out(texts, groups);
    fresh->key = std::move(key);
    control_.on_first([&] {
      const std::string fault = coverage_fault(request_.tensors, fresh->layout.shards);
      RONDO_CHECK(fault.empty(), "checkpoint {}: {}", request_.name, fault);
    });
    known = std::move(fresh);
  }
  layout_ = known->layout;
}

void Writer::Save::reserve() {
  step("reserved", [&] {
    if (!control_.is_first()) return;
    RONDO_CHECK(request_.state.is_object(), "the state of a checkpoint is an object");
    if (existing_ == Existing::kRefuse) remove_if_bad();
    storage::remove_leftovers(target());
    publisher_.emplace(target(), existing_ == Existing::kReplace ? storage::Existing::kMovedByCaller
                                                                 : storage::Existing::kRefuse);
    // After the folder was made: whoever takes the run over removes it from then on.
    check_owner();
    storage::check_free_space(publisher_->path(), 4 * count_of(request_.tensors) + kOverhead);
  });
  const std::string told = control_.broadcast_text(
      control_.is_first() ? publisher_->path() + "\n" + storage::unique_id() : "");
  const size_t line = told.find('\n');
  temporary_ = told.substr(0, line);
  id_ = told.substr(line + 1);
}

void Writer::Save::remove_if_bad() const {
  if (!fs::exists(target())) return;
  for (const Candidate& candidate : find_candidates(request_.folder)) {
    if (candidate.name == request_.name && candidate.known_bad) {
      return delete_folder(put_aside(request_.folder, request_.name));
    }
  }
}

void Writer::Save::make_shards(Plan& plan) {
  std::string made;
  control_.agree([&] {
    if (control_.is_first()) {
      if (plan.logical.empty()) {
        const std::string path = temporary_ + "/.logical";
        write_logical(path, request_.tensors, layout_.shards);
        plan.logical = base::read_text(path);
        fs::remove(path);
      }
      logical_ = plan.logical;
    }
    if (!my_place().makes_file) return;
    const ShardFrame frame = make_shard(my_shard(), id_, static_cast<int64_t>(my_place().shard),
                                        layout_.shards[my_place().shard].elements);
    made = fmt::format("{} {} {}", frame.bytes, frame.data_at, frame.hash);
  });
  const auto texts = control_.gather_text(made);
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    if (!layout_.places[rank].makes_file) continue;
    Shard& shard = layout_.shards[layout_.places[rank].shard];
    std::istringstream(texts[rank]) >> shard.bytes >> shard.data_at >> shard.frame;
  }
}

void Writer::Save::snapshot(std::span<float> staging) {
  if (!staging.empty()) copy_pieces(request_.pieces, staging);
  step("snapshot", [&] { thread_ = std::thread([this, staging] { write_pieces(staging); }); });
}

void Writer::Save::write_pieces(std::span<const float> staged) {
  try {
    if (!logical_.empty()) {
      base::File logical = base::File::create(logical_path());
      logical.write_at(0, std::as_bytes(std::span(logical_)));
      logical.close();
    }
    if (!my_place().range.empty()) {
      const PartTarget target = {.path = my_shard(),
                                 .data_at = layout_.shards[my_place().shard].data_at,
                                 .range = my_place().range,
                                 .half_written = [this] {
                                   if (request_.fault) request_.fault("half_written");
                                 }};
      part_ = write_part(target, request_.tensors, request_.pieces, staged);
    }
  } catch (...) {
    failed_ = std::current_exception();
  }
  written_ = true;
}

SaveResult Writer::Save::finish() {
  // The vote is in step(): where one rank failed, all throw.
  step("shard_written", [&] {
    thread_.join();
    if (failed_) std::rethrow_exception(failed_);
  });
  SaveResult result = {target(), 4 * count_of(request_.tensors), "", collect()};
  if (request_.finite && !result.not_finite.empty()) return result;
  write_manifest();
  publish();
  result.digest = manifest_.digest;
  return result;
}

std::string Writer::Save::collect() {
  std::string mine = digest_text(part_.digest);
  for (const uint32_t crc : part_.crc32c) mine += fmt::format(" {}", crc);
  const auto texts = control_.gather_text(mine + "\n" + part_.not_finite);
  std::string not_finite;
  uint64_t digest = 0;
  std::vector<size_t> next(layout_.shards.size(), 0);
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    const size_t line = texts[rank].find('\n');
    if (not_finite.empty()) not_finite = texts[rank].substr(line + 1);
    std::istringstream words(texts[rank].substr(0, line));
    std::string part_digest;
    words >> part_digest;
    digest += parse_digest(part_digest);
    const Place& place = layout_.places[rank];
    if (place.range.empty()) continue;
    Part& part = layout_.shards[place.shard].parts[next[place.shard]++];
    for (uint32_t crc = 0; words >> crc;) part.crc32c.push_back(crc);
  }
  manifest_.digest = digest_text(digest);
  step("voted", [] {});
  return not_finite;
}

void Writer::Save::write_manifest() {
  step("manifest_written", [&] {
    if (!control_.is_first()) return;
    for (Shard& shard : layout_.shards) shard.hash = whole_hash(shard);
    manifest_.id = id_;
    manifest_.name = request_.name;
    manifest_.step = request_.step;
    manifest_.state = request_.state;
    manifest_.tensors = request_.tensors;
    manifest_.shards = layout_.shards;
    manifest_.logical_bytes = std::ssize(logical_);
    manifest_.logical_hash = base::hash_hex(logical_);
    base::write_text_durably(fmt::format("{}/{}", temporary_, kManifestFile),
                             manifest_text(manifest_));
  });
}

void Writer::Save::publish() {
  const std::string old = fmt::format("{}/{}{}", request_.folder, kReplacedPrefix, request_.name);
  step("renamed", [&] {
    if (!control_.is_first()) return;
    publisher_->sync();
    check_owner();
    if (existing_ == Existing::kReplace && fs::exists(target())) {
      storage::rename_durably(target(), old);
    }
    try {
      if (request_.fault) request_.fault("moved_away");
      publisher_->commit();
    } catch (...) {
      std::error_code ignored;
      if (fs::exists(old) && !fs::exists(target())) fs::rename(old, target(), ignored);
      throw;
    }
  });
  step("latest_written", [&] {
    if (!control_.is_first()) return;
    if (existing_ == Existing::kReplace) {
      std::error_code ignored;
      fs::remove_all(old, ignored);
    } else {
      base::write_text_durably(fmt::format("{}/{}", request_.folder, kLatestFile),
                               request_.name + "\n");
    }
  });
}

Writer::Writer(comm::Control& control, int64_t staging)
    : control_(control), staging_elements_(staging) {
  if (staging == 0) return;
  try {
    staging_.reset(new float[static_cast<size_t>(staging)]);
  } catch (const std::bad_alloc&) {
    throw base::SystemError(
        fmt::format("checkpoint: there is no memory for {} bytes of a snapshot; set "
                    "checkpoint.background: off.",
                    4 * staging));
  }
  std::fill_n(staging_.get(), staging, 0.0F);
}

Writer::~Writer() = default;

void Writer::begin(SaveRequest request, Existing existing) {
  RONDO_CHECK(!save_, "a save is in flight");
  auto save = std::make_unique<Save>(std::move(request), control_, existing);
  save->plan(plan_);
  save->reserve();
  save->make_shards(*plan_);
  std::span<float> staging;
  if (staging_elements_ > 0) {
    RONDO_CHECK(save->elements() <= staging_elements_, "{} elements to save, there is room for {}",
                save->elements(), staging_elements_);
    staging = {staging_.get(), static_cast<size_t>(save->elements())};
  }
  save->snapshot(staging);
  save_ = std::move(save);
}

bool Writer::in_flight() const { return save_ != nullptr; }
bool Writer::written() const { return !save_ || save_->written(); }

SaveResult Writer::finish() {
  RONDO_CHECK(save_, "no save is in flight");
  const std::unique_ptr<Save> save = std::move(save_);
  return save->finish();
}

SaveResult save(const SaveRequest& request, comm::Control& control) {
  Writer writer(control);
  writer.begin(request);
  return writer.finish();
}

}  // namespace rondo::checkpoint
