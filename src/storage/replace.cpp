#include "storage/replace.hpp"

#include <filesystem>

#include "base/file.hpp"
#include "storage/publish.hpp"

namespace rondo::storage {
namespace {

// Removes the file unless it was moved to its final name.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) : path_(temporary_name(target)) {}
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

void replace_hdf5(const std::string& path, const std::function<void(Hdf5File&)>& fill) {
  const TemporaryFile temporary(path);
  Hdf5File file = Hdf5File::create(temporary.path());
  fill(file);
  file.close();
  base::File written = base::File::open_write(temporary.path());
  written.sync();
  written.close();
  rename_durably(temporary.path(), path);
}

}  // namespace rondo::storage
