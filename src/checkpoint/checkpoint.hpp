// Checkpoints: named float32 tensors in, named float32 tensors out, on any number of ranks.
//
// A checkpoint is a folder `<folder>/<name>` (docs/formats/checkpoint.md): HDF5 shards written by
// the ranks, logical.h5 (every tensor whole, as HDF5 virtual datasets) and MANIFEST.json, written
// last. It becomes visible by one rename: a kill at any moment leaves the previous ones as they
// were. What the tensors mean, and when to save, is the caller's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/console.hpp"
#include "base/slice.hpp"
#include "comm/control.hpp"

namespace rondo::checkpoint {

// A whole tensor, float32, row-major. Names are paths in logical.h5, such as
// "model.layers.0.self_attn.q_proj.weight" or "optimizer/exp_avg/model.norm.weight".
struct LogicalTensor {
  std::string name;
  std::vector<int64_t> shape;  // at least one dimension, every size at least 1
  int64_t count() const;       // elements
};

// What this rank owns and writes: `elements` of the flattened tensor `tensors[tensor]`. Several
// runs: of a matrix, each within a row, one in each of some neighbouring rows.
struct Piece {
  size_t tensor = 0;
  base::Strided elements;
  const float* data = nullptr;  // run k from data + k * data_stride on
  int64_t data_stride = 0;
};

// Called on every rank at the points of the commit protocol: "reserved", "snapshot",
// "half_written" (by the thread that writes, where this rank writes anything), "shard_written",
// "voted", "manifest_written", "renamed", "latest_written"; and "moved_away" on rank 0, just before
// the rename. Tests throw or kill there.
using FaultPoints = std::function<void(std::string_view point)>;

struct SaveRequest {
  std::string folder;  // holds the checkpoints; made when missing
  std::string name;    // such as "step-00000120": letters, digits, '-', '_', '.'
  int64_t step = 0;    // optimizer steps done over all rounds: the order of age of checkpoints
  std::vector<LogicalTensor> tensors;  // the same list on every rank
  std::vector<Piece> pieces;           // of this rank; over all ranks each element exactly once
  nlohmann::json state;                // an object; rank 0's is stored
  int writer_group = -1;               // ranks of one number share a shard file; below 0: none do
  bool finite = false;                 // nothing is published when a number is not finite
  // On rank 0, before anything is made and right before the rename: throws when this process may
  // not write to the folder any more.
  std::function<void()> check_owner = {};
  FaultPoints fault = {};
};

struct SaveResult {
  std::string path;        // of the published folder
  int64_t bytes = 0;       // of tensor data over all ranks
  std::string digest;      // of all tensors, whatever the layout: 16 hexadecimal digits
  std::string not_finite;  // a tensor with numbers that are not finite, if there is one
};

// Collective over all ranks of `control`. On return the checkpoint is on disk and published. On an
// exception, of the same kind on every rank, nothing was published (unless the failure came after
// the rename), earlier checkpoints are intact and the temporary folder is gone.
// Throws Bug when pieces leave out or repeat an element (naming tensor and range), UserError when
// `name` exists already (one recorded in BAD is replaced), SystemError when the disk is too small
// or a call fails. To save in the background: checkpoint/writer.hpp.
SaveResult save(const SaveRequest& request, comm::Control& control);

// How much open() and open_newest() check before they trust a checkpoint.
enum class Verify {
  kManifest,  // the manifest and the sizes of all files
  kFull,      // also every byte of every file, and the digest; the work is shared by all ranks
};

struct Manifest;

// Which checkpoints open_newest() may take.
using Accept = std::function<bool(const std::string& name, const nlohmann::json& state)>;

// An opened checkpoint. Files are read where and when read() asks; any slices, any ranks.
class Checkpoint {
 public:
  // Collective over all ranks of `control`. UserError naming file, place, found and expected when
  // `path` is not a whole checkpoint of a version this program knows.
  static Checkpoint open(const std::string& path, comm::Control& control, Verify verify);

  // Collective over all ranks of `control`. The newest checkpoint (highest step) in `folder` that
  // is whole and that `accept` wants (asked on rank 0; no function: all). Rank 0 scans; LATEST is
  // only a hint. A damaged one is named on the console with the reason, recorded in `<folder>/BAD`
  // and not tried again, and the next older one is taken. nullopt when there is no acceptable
  // checkpoint at all; SystemError with the list when there are some but none is whole.
  static std::optional<Checkpoint> open_newest(const std::string& folder, comm::Control& control,
                                               base::Console& console, Verify verify,
                                               const Accept& accept = {});
  ~Checkpoint();
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;

  const std::string& path() const;
  const std::string& name() const;
  int64_t step() const;
  const std::string& digest() const;
  const nlohmann::json& state() const;
  const std::vector<LogicalTensor>& tensors() const;
  bool has(const std::string& tensor) const;
  // UserError naming checkpoint and tensor when there is none of this name.
  const LogicalTensor& tensor(const std::string& name) const;

  // `elements` of the flattened tensor, run k to out + k * out_stride. Not collective.
  void read(const std::string& tensor, base::Strided elements, float* out,
            int64_t out_stride = 0) const;
  std::vector<float> read_all(const std::string& tensor) const;

 private:
  Checkpoint(std::string path, std::unique_ptr<Manifest> manifest);
  struct Contents;

  std::string path_;
  std::unique_ptr<Manifest> manifest_;
  std::unique_ptr<Contents> contents_;
};

// One published checkpoint, as its manifest tells it.
struct Listed {
  std::string name;
  int64_t step = 0;
  int64_t bytes = 0;  // of all files
  nlohmann::json state;
  std::string damage;  // why it cannot be used, as far as the manifest and BAD tell; else empty
};
// Newest first. Reads manifests only; empty when the folder does not exist. Called on one rank.
std::vector<Listed> list(const std::string& folder);

// Puts aside all but the `keep` (at least 1) newest of the checkpoints that are not in `pinned`;
// pinned ones are neither counted nor touched, nor is one that was not read. What cannot be moved
// is a warning. Returns the folders to be deleted (delete_folder), which are found by clean() too.
// Called on rank 0 alone, after a save is published.
std::vector<std::string> retain(const std::string& folder, int keep,
                                const std::set<std::string>& pinned, base::Console& console);

// Takes checkpoint `name` out of sight by one rename; returns its new path. SystemError when the
// rename fails.
std::string put_aside(const std::string& folder, const std::string& name);
// Deletes what was put aside; what cannot be deleted stays for clean(). Of any thread.
void delete_folder(const std::string& path);

// Collective over all ranks of `control`. Rewrites checkpoint `name` durably with only the tensors
// that `wanted` accepts and with `state` in the place of its state: how a round's end is reduced to
// weights. At every moment either the old or the new one is found (after clean()).
void drop_tensors(const std::string& folder, const std::string& name,
                  const std::function<bool(const std::string& tensor)>& wanted,
                  const nlohmann::json& state, comm::Control& control,
                  const FaultPoints& fault = {});

// Removes what earlier processes left unfinished (*.tmp, .trash-*) and finishes or undoes an
// interrupted drop_tensors(). Called on rank 0 alone, at start, with the run's lock held.
void clean(const std::string& folder, base::Console& console);

}  // namespace rondo::checkpoint
