#include "base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.hpp"

namespace rondo::base {

namespace {
constexpr size_t kPiece = size_t{64} << 20;

int open_or_fail(const std::string& path, int flags) {
  for (;;) {
    const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
    if (descriptor >= 0) return descriptor;
    if (errno == EINTR) continue;
    fail_errno("open", path);
  }
}
}  // namespace

File File::open_read(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    fail_user("{}: cannot be opened for reading: {}.", path, std::strerror(errno));
  return {descriptor, path};
}

File File::create(const std::string& path) {
  return {open_or_fail(path, O_RDWR | O_CREAT | O_EXCL), path};
}

File File::open_write(const std::string& path) { return {open_or_fail(path, O_RDWR), path}; }

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

int64_t File::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_errno("fstat", path_);
  return status.st_size;
}

void File::read_at(int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got =
        ::pread(descriptor_, out.data(), std::min(out.size(), kPiece), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno("pread", path_);
    if (got == 0) {
      fail_user("{}: ends at byte {}, {} more bytes were expected: the file is truncated.", path_,
                offset, out.size());
    }
    out = out.subspan(static_cast<size_t>(got));
    offset += got;
  }
}

void File::write_at(int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(descriptor_, bytes.data(), std::min(bytes.size(), kPiece),
                                 static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_errno("pwrite", path_);
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += put;
  }
}

void File::start_writeback(int64_t offset, int64_t bytes) const {
#ifdef SYNC_FILE_RANGE_WRITE
  // Where it is not supported sync() does all of the work.
  static_cast<void>(::sync_file_range(descriptor_, offset, bytes, SYNC_FILE_RANGE_WRITE));
#endif
}

void File::sync() {
  if (::fsync(descriptor_) != 0) fail_errno("fsync", path_);
}

void File::sync_data() {
  if (::fdatasync(descriptor_) != 0) fail_errno("fdatasync", path_);
}

void File::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0 && ::close(descriptor) != 0) fail_errno("close", path_);
}

std::string read_text(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    fail_user("{}: is a folder, a file was expected.", path);
  }
  const File file = File::open_read(path);
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void write_text_durably(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp";
  ::unlink(temporary.c_str());
  File file = File::create(temporary);
  file.write_at(0, std::as_bytes(std::span(text.data(), text.size())));
  file.sync();
  file.close();
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail_errno("rename", path);
  sync_folder(std::filesystem::path(path).parent_path().string());
}

void append_line_durably(const std::string& path, std::string_view line) {
  const bool fresh = !std::filesystem::exists(path);
  File file = fresh ? File::create(path) : File::open_write(path);
  const int64_t size = file.size();
  std::byte last{'\n'};
  if (size > 0) file.read_at(size - 1, std::span(&last, 1));
  // A kill may have cut the last line short; this one must not become part of it.
  std::string text;
  if (last != std::byte{'\n'}) text.push_back('\n');
  text.append(line).push_back('\n');
  file.write_at(size, std::as_bytes(std::span(text)));
  file.sync();
  file.close();
  if (fresh) sync_folder(std::filesystem::path(path).parent_path().string());
}

void sync_folder(const std::string& path) {
  const std::string folder = path.empty() ? "." : path;
  const int descriptor = open_or_fail(folder, O_RDONLY | O_DIRECTORY);
  const int result = ::fsync(descriptor);
  const int code = errno;
  ::close(descriptor);
  errno = code;
  if (result != 0) fail_errno("fsync", folder);
}

}  // namespace rondo::base
