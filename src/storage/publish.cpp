#include "storage/publish.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"

namespace rondo::storage {

namespace fs = std::filesystem;

namespace {

constexpr size_t kIdDigits = 8;  // of unique_id(), in temporary names

void make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path)) {
    throw base::SystemError("mkdir", error ? error.value() : ENOTDIR,
                            path + ": " + (error ? error.message() : "not a folder"));
  }
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

void sync_tree(const std::string& folder) {
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) {
      base::sync_folder(entry->path().string());
    } else if (entry->is_regular_file(ignored)) {
      base::File file = base::File::open_write(entry->path().string());
      file.sync();
      file.close();
    }
  }
  if (error) throw base::SystemError("readdir", error.value(), folder + ": " + error.message());
  base::sync_folder(folder);
}

}  // namespace

std::string unique_id() {
  static std::atomic<uint64_t> counter{0};
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  std::random_device device;
  return base::hash_hex(fmt::format("{} {} {} {} {}", host.data(), ::getpid(),
                                    std::chrono::system_clock::now().time_since_epoch().count(),
                                    counter.fetch_add(1), device()));
}

std::string temporary_name(const std::string& target) {
  return fmt::format("{}.{}{}", target, unique_id().substr(0, kIdDigits), kTemporarySuffix);
}

FolderPublisher::FolderPublisher(std::string target, Existing existing)
    : target_(std::move(target)) {
  if (existing == Existing::kRefuse && fs::exists(fs::symlink_status(target_))) {
    base::fail_user(
        "{}: exists already and is never overwritten. Remove it or choose another name.", target_);
  }
  make_folders(parent_of(target_));
  path_ = temporary_name(target_);
  make_folders(path_);
}

FolderPublisher::~FolderPublisher() {
  if (published_) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void FolderPublisher::sync() {
  sync_tree(path_);
  synced_ = true;
}

void FolderPublisher::commit() {
  RONDO_CHECK(!published_, "{} was published already", target_);
  if (!synced_) sync();
  // rename() would replace an empty folder.
  if (fs::exists(fs::symlink_status(target_))) {
    base::fail_user("{}: came into being while {} was written.", target_, path_);
  }
  if (std::rename(path_.c_str(), target_.c_str()) != 0) base::fail_errno("rename", target_);
  published_ = true;
  base::sync_folder(parent_of(target_));
}

void remove_leftovers(const std::string& target) {
  const std::string begin = fs::path(target).filename().string() + ".";
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator entry(parent_of(target), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    // Another target may have a name that begins with this one and a dot.
    const bool as_long = name.size() == begin.size() + kIdDigits + kTemporarySuffix.size();
    if (as_long && name.starts_with(begin) && name.ends_with(kTemporarySuffix)) {
      found.push_back(entry->path());
    }
  }
  for (const fs::path& folder : found) fs::remove_all(folder, error);
}

void rename_durably(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) base::fail_errno("rename", from);
  base::sync_folder(parent_of(to));
  if (parent_of(from) != parent_of(to)) base::sync_folder(parent_of(from));
}

void check_free_space(const std::string& folder, int64_t bytes) {
  struct statvfs status {};
  if (::statvfs(folder.c_str(), &status) != 0) base::fail_errno("statvfs", folder);
  const double needed = 1.1 * static_cast<double>(bytes);
  const double free_bytes =
      static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize);
  if (free_bytes < needed) {
    throw base::SystemError(
        fmt::format("{}: not enough space: {:.3f} GB are needed (1.1 times what will be written), "
                    "{:.3f} GB are free. Free some, or keep fewer checkpoints.",
                    folder, needed / 1e9, free_bytes / 1e9));
  }
}

void check_writable(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error && !fs::is_directory(folder)) error = std::make_error_code(std::errc::not_a_directory);
  if (error) base::fail_user("{}: cannot be made a folder: {}.", folder, error.message());
  const std::string probe = fmt::format("{}/.probe-{}", folder, unique_id().substr(0, 8));
  const std::string moved = probe + "-moved";
  try {
    base::File file = base::File::create(probe);
    file.write_at(0, std::as_bytes(std::span("probe", 5)));
    file.sync();
    file.close();
    rename_durably(probe, moved);
    if (::unlink(moved.c_str()) != 0) base::fail_errno("unlink", moved);
  } catch (const base::SystemError& failure) {
    ::unlink(probe.c_str());
    ::unlink(moved.c_str());
    base::fail_user("{}: cannot be written to ({}). Choose a folder that this user may write.",
                    folder, failure.what());
  }
}

}  // namespace rondo::storage
