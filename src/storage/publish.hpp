// Durable publish of a folder: built under a temporary name, then renamed as a whole, so that under
// its final name it is either complete and on disk or not there at all.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rondo::storage {

// A fresh text of 32 hexadecimal digits: host, process, time and a counter, hashed.
std::string unique_id();

// What is not published yet has a name with this end.
inline constexpr std::string_view kTemporarySuffix = ".tmp";

// `<target>.<8 digits>.tmp`, fresh: what becomes `target` later, or was it before. What a kill
// leaves of it is found by remove_leftovers().
std::string temporary_name(const std::string& target);

// What is done about a target that exists already.
enum class Existing {
  kRefuse,         // UserError when the publisher is made
  kMovedByCaller,  // the caller moves it away before commit()
};

// Makes a folder temporary_name(target), to be filled under path(). One process owns it; others may
// write files inside, each syncing its own.
class FolderPublisher {
 public:
  // `target`: final path, whose parent is made when missing.
  explicit FolderPublisher(std::string target, Existing existing = Existing::kRefuse);
  // Removes the temporary folder unless commit() came to its rename.
  ~FolderPublisher();
  FolderPublisher(const FolderPublisher&) = delete;
  FolderPublisher& operator=(const FolderPublisher&) = delete;

  const std::string& path() const { return path_; }
  const std::string& target() const { return target_; }
  // fsync of every file and folder inside; done by commit() where the caller has not.
  void sync();
  // sync(), rename to the target, fsync of the parent. UserError when the target exists,
  // SystemError when a call fails.
  void commit();

 private:
  std::string target_;
  std::string path_;
  bool synced_ = false;
  bool published_ = false;
};

// Removes what publishers that were killed left beside `target`, as far as it can be removed. Only
// where no other publisher of the same target can be at work.
void remove_leftovers(const std::string& target);

// Moves a file or folder and syncs the parents of both names; SystemError when rename fails.
void rename_durably(const std::string& from, const std::string& to);

// SystemError naming folder, needed and free bytes unless the file system of `folder` (which must
// exist) has room for 1.1 times `bytes`.
void check_free_space(const std::string& folder, int64_t bytes);

// Makes sure that files can be made, synced, renamed and removed in `folder`, which is made when
// missing. UserError with the reason: not writable, read-only file system, a file in its place.
void check_writable(const std::string& folder);

}  // namespace rondo::storage
