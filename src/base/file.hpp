// Files by descriptor, with every return code checked: the seam between rondo and the file system.
//
// Large transfers go in pieces of at most 64 MiB; short reads and writes are continued; an end of
// file met early is an error that names the file and the place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace rondo::base {

class File {
 public:
  // UserError when the file cannot be opened for reading.
  static File open_read(const std::string& path);
  // Creates the file; SystemError when it exists already.
  static File create(const std::string& path);
  // An existing file for writing.
  static File open_write(const std::string& path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  const std::string& path() const { return path_; }
  int64_t size() const;
  void read_at(int64_t offset, std::span<std::byte> out) const;
  void write_at(int64_t offset, std::span<const std::byte> bytes);
  // Asks the system to begin to write these bytes to the disk; returns at once, promises nothing.
  void start_writeback(int64_t offset, int64_t bytes) const;
  void sync();
  // Without the times of the file (fdatasync).
  void sync_data();
  // Closes and reports what close() says (network file systems report late).
  void close();

 private:
  File(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  int descriptor_ = -1;
  std::string path_;
};

// Whole content of a small file. UserError when it cannot be read.
std::string read_text(const std::string& path);
// Replaces `path` durably: temporary file in the same folder, fsync, rename, fsync of the folder.
void write_text_durably(const std::string& path, std::string_view text);
// Appends one line (the newline is added) and syncs it.
void append_line_durably(const std::string& path, std::string_view line);
// fsync of a folder, so that names made or moved in it survive a crash.
void sync_folder(const std::string& path);

}  // namespace rondo::base
