#include "checkpoint/write.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <sstream>

#include "base/crc32c.hpp"
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

class Writer {
 public:
  Writer(const SaveRequest& request, comm::Control& control, Existing existing)
      : request_(request), control_(control), existing_(existing) {}

  SaveResult run() {
    plan();
    reserve();
    make_shards();
    write_shards();
    collect();
    write_manifest();
    publish();
    return {target(), 4 * count_of(request_.tensors), manifest_.digest};
  }

 private:
  std::string target() const { return request_.folder + "/" + request_.name; }
  std::string latest() const { return fmt::format("{}/{}", request_.folder, kLatestFile); }
  const Place& my_place() const { return layout_.places[static_cast<size_t>(control_.rank())]; }
  std::string shard_path(size_t shard) const {
    return temporary_ + "/" + layout_.shards[shard].file;
  }

  // Does `action` on every rank, then tells the fault seam; all ranks go on or all throw.
  template <class Action>
  void step(std::string_view point, Action action) {
    control_.agree([&] {
      action();
      if (request_.fault) request_.fault(point);
    });
  }

  void plan() {
    control_.agree([&] {
      check_name(request_.name);
      RONDO_CHECK(request_.ranks_per_shard >= 1);
      RONDO_CHECK(!request_.tensors.empty(), "checkpoint {} has no tensors", request_.name);
      for (const LogicalTensor& tensor : request_.tensors) {
        RONDO_CHECK(!tensor.name.empty() && !tensor.shape.empty() &&
                        std::all_of(tensor.shape.begin(), tensor.shape.end(),
                                    [](int64_t size) { return size >= 1; }),
                    "tensor '{}' has no name or an empty shape", tensor.name);
      }
      pieces_ = in_stored_order(request_.tensors, request_.pieces);
    });
    base::Hasher same;
    for (const LogicalTensor& tensor : request_.tensors) {
      same.add(fmt::format("{} {};", tensor.name, nlohmann::json(tensor.shape).dump()));
    }
    control_.same_on_all_ranks(
        fmt::format("{} step {} tensors {} ranks per shard {}", request_.name, request_.step,
                    same.hex(), request_.ranks_per_shard),
        "the checkpoint to save");
    layout_ = lay_out(control_.gather_text(pieces_text(pieces_)), request_.ranks_per_shard);
  }

  void reserve() {
    step("reserved", [&] {
      if (!control_.is_first()) return;
      const std::string fault = coverage_fault(request_.tensors, layout_.shards);
      RONDO_CHECK(fault.empty(), "checkpoint {}: {}", request_.name, fault);
      RONDO_CHECK(request_.state.is_object(), "the state of a checkpoint is an object");
      if (existing_ == Existing::kRefuse) remove_if_bad();
      remove_leftovers();
      publisher_.emplace(target(), existing_ == Existing::kReplace
                                       ? storage::Existing::kMovedByCaller
                                       : storage::Existing::kRefuse);
      storage::check_free_space(publisher_->path(), 4 * count_of(request_.tensors) + kOverhead);
    });
    temporary_ = control_.broadcast_text(publisher_ ? publisher_->path() : "");
    id_ = control_.broadcast_text(control_.is_first() ? storage::unique_id() : "");
  }

  void remove_if_bad() {
    if (!fs::exists(target())) return;
    for (const Candidate& candidate : find_candidates(request_.folder)) {
      if (candidate.name == request_.name && candidate.known_bad) {
        return remove_checkpoint(request_.folder, request_.name);
      }
    }
  }

  // What an interrupted save of the same name left.
  void remove_leftovers() {
    std::error_code error;
    std::vector<fs::path> stale;
    for (fs::directory_iterator entry(request_.folder, error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (name.starts_with(request_.name + ".") && name.ends_with(kTemporarySuffix)) {
        stale.push_back(entry->path());
      }
    }
    for (const fs::path& path : stale) fs::remove_all(path, error);
  }

  void make_shards() {
    std::string made;
    control_.agree([&] {
      if (!my_place().makes_file) return;
      const Shard& shard = layout_.shards[my_place().shard];
      const ShardFrame frame = make_shard(shard_path(my_place().shard), id_,
                                          static_cast<int64_t>(my_place().shard), shard.elements);
      made = fmt::format("{} {} {}", frame.bytes, frame.data_at, frame.hash);
    });
    const auto texts = control_.gather_text(made);
    for (size_t rank = 0; rank < texts.size(); ++rank) {
      if (!layout_.places[rank].makes_file) continue;
      Shard& shard = layout_.shards[layout_.places[rank].shard];
      std::istringstream(texts[rank]) >> shard.bytes >> shard.data_at >> shard.frame;
    }
  }

  void write_shards() {
    step("shard_written", [&] {
      if (my_place().range.empty()) return;
      written_ = write_part(shard_path(my_place().shard), layout_.shards[my_place().shard].data_at,
                            my_place().range, request_.tensors, pieces_);
    });
  }

  // The vote itself is in step(): a rank that failed to write made all of them throw there.
  void collect() {
    std::string mine = digest_text(written_.digest);
    for (const uint32_t crc : written_.crc32c) mine += fmt::format(" {}", crc);
    const auto texts = control_.gather_text(mine);
    uint64_t digest = 0;
    std::vector<size_t> next(layout_.shards.size(), 0);
    for (size_t rank = 0; rank < texts.size(); ++rank) {
      std::istringstream words(texts[rank]);
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
  }

  void write_manifest() {
    step("manifest_written", [&] {
      if (!control_.is_first()) return;
      const std::string logical = fmt::format("{}/{}", temporary_, kLogicalFile);
      write_logical(logical, request_.tensors, layout_.shards);
      manifest_.id = id_;
      manifest_.name = request_.name;
      manifest_.step = request_.step;
      manifest_.state = request_.state;
      manifest_.tensors = request_.tensors;
      manifest_.shards = layout_.shards;
      manifest_.logical_bytes = static_cast<int64_t>(fs::file_size(logical));
      manifest_.logical_hash = base::hash_file(logical);
      base::write_text_durably(fmt::format("{}/{}", temporary_, kManifestFile),
                               manifest_text(manifest_));
    });
  }

  void publish() {
    const std::string old = fmt::format("{}/{}{}", request_.folder, kReplacedPrefix, request_.name);
    step("renamed", [&] {
      if (!control_.is_first()) return;
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
        base::write_text_durably(latest(), request_.name + "\n");
      }
    });
  }

  const SaveRequest& request_;
  comm::Control& control_;
  const Existing existing_;
  std::vector<Piece> pieces_;
  Layout layout_;
  std::optional<storage::FolderPublisher> publisher_;  // on rank 0
  std::string temporary_;
  std::string id_;
  WrittenPart written_;
  Manifest manifest_;
};

}  // namespace

SaveResult write(const SaveRequest& request, comm::Control& control, Existing existing) {
  return Writer(request, control, existing).run();
}

SaveResult save(const SaveRequest& request, comm::Control& control) {
  return write(request, control, Existing::kRefuse);
}

}  // namespace rondo::checkpoint
