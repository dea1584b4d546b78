// list, retain, put_aside, drop_tensors and clean: what happens to checkpoints after they were
// saved.

#include <algorithm>
#include <filesystem>

#include "base/console.hpp"
#include "base/error.hpp"
#include "checkpoint/catalogue.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/writer.hpp"
#include "storage/publish.hpp"

namespace rondo::checkpoint {

namespace fs = std::filesystem;

std::vector<Listed> list(const std::string& folder) {
  std::vector<Listed> all;
  for (Candidate& candidate : find_candidates(folder)) {
    Listed listed;
    listed.name = candidate.name;
    listed.damage = candidate.damage;
    if (candidate.manifest) {
      listed.step = candidate.manifest->step;
      listed.bytes = candidate.manifest->file_bytes();
      listed.state = std::move(candidate.manifest->state);
    }
    all.push_back(std::move(listed));
  }
  return all;
}

std::string put_aside(const std::string& folder, const std::string& name) {
  const std::string aside =
      fmt::format("{}/{}{}-{}", folder, kTrashPrefix, name, storage::unique_id().substr(0, 8));
  storage::rename_durably(fmt::format("{}/{}", folder, name), aside);
  return aside;
}

void delete_folder(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

std::vector<std::string> retain(const std::string& folder, int keep,
                                const std::set<std::string>& pinned, base::Console& console) {
  RONDO_CHECK(keep >= 1, "at least one checkpoint is kept, not {}", keep);
  std::vector<std::string> aside;
  try {
    int kept = 0;
    for (const Listed& listed : list(folder)) {
      if (!listed.damage.empty() || pinned.contains(listed.name) || kept++ < keep) continue;
      aside.push_back(put_aside(folder, listed.name));
    }
  } catch (const std::exception& error) {
    console.warn("[checkpoint] old checkpoints could not be removed: {}", error.what());
  }
  return aside;
}

void drop_tensors(const std::string& folder, const std::string& name,
                  const std::function<bool(const std::string& tensor)>& wanted,
                  const nlohmann::json& state, comm::Control& control, const FaultPoints& fault) {
  // Everything is verified first, so that damage is not carried over under new checksums.
  const Checkpoint old = Checkpoint::open(folder + "/" + name, control, Verify::kFull);
  SaveRequest request;
  request.folder = folder;
  request.name = name;
  request.step = old.step();
  request.state = state;
  request.fault = fault;
  std::vector<std::vector<float>> values;
  control.agree([&] {
    for (const LogicalTensor& tensor : old.tensors()) {
      if (!wanted(tensor.name)) continue;
      const base::Slice mine = base::even_part(tensor.count(), control.size(), control.rank());
      values.emplace_back(static_cast<size_t>(mine.size()));
      old.read(tensor.name, mine, values.back().data());
      request.pieces.push_back({request.tensors.size(), mine, values.back().data(), mine.size()});
      request.tensors.push_back(tensor);
    }
  });
  Writer writer(control);
  writer.begin(std::move(request), Existing::kReplace);
  writer.finish();
}

void clean(const std::string& folder, base::Console& console) {
  std::error_code error;
  if (!fs::exists(folder)) return;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) console.warn("[checkpoint] {} could not be listed: {}", folder, error.message());
  for (const std::string& name : names) {
    const std::string path = folder + "/" + name;
    if (name.starts_with(kReplacedPrefix)) {
      const std::string original = folder + "/" + name.substr(kReplacedPrefix.size());
      if (!fs::exists(original)) {
        storage::rename_durably(path, original);
        continue;
      }
    } else if (!name.ends_with(storage::kTemporarySuffix) && !name.starts_with(kTrashPrefix)) {
      continue;
    }
    fs::remove_all(path, error);
    if (error) console.warn("[checkpoint] {} could not be removed: {}", path, error.message());
  }
}

}  // namespace rondo::checkpoint
