// Writer: one save after another of the same tensors, each in the background from its snapshot on.
//
//   begin()   reserve, files without numbers, snapshot      the ranks wait
//   thread    checksums, pwrite, fsync                      the ranks train on
//   finish()  vote, manifest, rename, LATEST                the ranks wait
//
// The thread calls neither MPI nor HDF5. The commit protocol: docs/formats/checkpoint.md.
#pragma once

#include <memory>

#include "checkpoint/checkpoint.hpp"

namespace rondo::checkpoint {

// What happens to a published checkpoint of the same name.
enum class Existing {
  kRefuse,   // UserError, unless BAD names it
  kReplace,  // moved to .replaced-NAME just before the new one is renamed, then deleted
};

class Writer {
 public:
  // `staging`: elements that this rank's pieces have at most; memory for them is taken here and
  // touched, so that no save fails for want of it. 0: the caller's memory is written, and stays
  // unchanged until finish(). SystemError when the memory is not there.
  explicit Writer(comm::Control& control, int64_t staging = 0);
  // Gives up a save that was not finished: nothing is published.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Each but written() and in_flight() is collective over all ranks, and throws as save() does.
  // Not while another save is in flight.
  void begin(SaveRequest request, Existing existing = Existing::kRefuse);
  bool in_flight() const;
  // Whether this rank's part is on disk, or has failed.
  bool written() const;
  // Waits for all parts, and publishes.
  SaveResult finish();

 private:
  class Save;

  comm::Control& control_;
  std::unique_ptr<float[]> staging_;  // NOLINT(modernize-avoid-c-arrays): not zeroed
  int64_t staging_elements_ = 0;
  struct Plan;
  std::unique_ptr<Plan> plan_;  // of the save before, for as long as the pieces are the same
  std::unique_ptr<Save> save_;
};

}  // namespace rondo::checkpoint
