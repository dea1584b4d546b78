#include "storage/hdf5_recognise.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "base/file.hpp"

namespace rondo::storage {

namespace {

constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";

// The size that a superblock at the file's start states (HDF5 File Format Specification 3.0,
// section II.A), or -1 where it cannot be told.
int64_t stated_size(std::span<const unsigned char> head) {
  size_t at = 0;
  size_t offset_bytes = 0;
  if (head.size() < 52) return -1;
  const unsigned version = head[8];
  if (version <= 1) {
    offset_bytes = head[13];
    at = (version == 0 ? 24 : 28) + 2 * offset_bytes;
  } else if (version <= 3) {
    offset_bytes = head[9];
    at = 12 + 2 * offset_bytes;
  }
  if (offset_bytes != 8) return -1;
  uint64_t size = 0;
  for (size_t i = 0; i < 8; ++i) size |= static_cast<uint64_t>(head[at + i]) << (8 * i);
  return size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
             ? -1
             : static_cast<int64_t>(size);
}

}  // namespace

void recognise_hdf5(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    base::fail_user("{}: cannot be read: {}. An HDF5 file was expected.", path,
                    std::strerror(errno));
  }
  if (S_ISDIR(status.st_mode)) {
    base::fail_user("{}: is a folder, an HDF5 file was expected.", path);
  }
  const base::File file = base::File::open_read(path);
  const int64_t size = file.size();
  if (size == 0) base::fail_user("{}: is empty (0 bytes), an HDF5 file was expected.", path);
  std::array<unsigned char, 64> head{};
  const auto known = std::span(head).first(static_cast<size_t>(std::min<int64_t>(size, 64)));
  file.read_at(0, std::as_writable_bytes(known));
  const std::string_view text(reinterpret_cast<const char*>(head.data()), known.size());
  if (text.starts_with("version https://git-lfs")) {
    base::fail_user(
        "{}: is a Git LFS pointer of {} bytes, not the data itself. Run `git lfs pull` in its "
        "repository.",
        path, size);
  }
  if (text.starts_with(kSignature)) {
    const int64_t expected = stated_size(known);
    if (expected > size) {
      base::fail_user("{}: is truncated: {} bytes found, {} expected. Copy or make it again.", path,
                      size, expected);
    }
    return;
  }
  // A file may begin with a block of the user's own of 512, 1024, 2048, ... bytes.
  for (int64_t at = 512; at + 8 <= size; at *= 2) {
    std::array<char, 8> signature{};
    file.read_at(at, std::as_writable_bytes(std::span(signature)));
    if (std::string_view(signature.data(), 8) == kSignature) return;
  }
  base::fail_user("{}: is not an HDF5 file ({} bytes, no HDF5 signature).", path, size);
}

}  // namespace rondo::storage
