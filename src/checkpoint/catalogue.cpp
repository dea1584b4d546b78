#include "checkpoint/catalogue.hpp"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <sstream>

#include "base/error.hpp"
#include "base/file.hpp"
#include "storage/publish.hpp"

namespace rondo::checkpoint {

namespace fs = std::filesystem;

namespace {

struct Bad {
  std::string name;
  std::string id;
  std::string reason;
};

// Lines that are not whole are left out: BAD may have been torn by a crash.
std::vector<Bad> read_bad(const std::string& folder) {
  std::vector<Bad> all;
  const std::string path = fmt::format("{}/{}", folder, kBadFile);
  std::error_code error;
  if (!fs::exists(path, error)) return all;
  std::istringstream lines(base::read_text(path));
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    all.push_back({json.value("name", ""), json.value("id", ""), json.value("reason", "")});
  }
  return all;
}

// Other folders of the user's may lie beside; one that lost its manifest must not pass for them.
bool looks_like_checkpoint(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kManifestFile, ignored) ||
         fs::exists(folder / kLogicalFile, ignored) ||
         fs::exists(folder / "shard-0000.h5", ignored);
}

Candidate candidate_of(const std::string& folder, const std::string& name,
                       const std::vector<Bad>& bad) {
  Candidate candidate;
  candidate.name = name;
  const std::string path = fmt::format("{}/{}/{}", folder, name, kManifestFile);
  try {
    candidate.text = base::read_text(path);
    candidate.manifest = parse_manifest(candidate.text, path);
    if (candidate.manifest->name != name) {
      base::fail_user("{}: is the manifest of checkpoint '{}', not of '{}'.", path,
                      candidate.manifest->name, name);
    }
  } catch (const std::exception& error) {
    candidate.damage = error.what();
  }
  const std::string id = candidate.manifest ? candidate.manifest->id : "";
  for (const Bad& entry : bad) {
    if (entry.name != name || entry.id != id) continue;
    candidate.known_bad = true;
    candidate.damage = entry.reason;
  }
  return candidate;
}

}  // namespace

std::vector<Candidate> find_candidates(const std::string& folder) {
  std::vector<Candidate> all;
  std::error_code error;
  if (!fs::exists(folder, error) && !error) return all;
  const std::vector<Bad> bad = read_bad(folder);
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (name.starts_with('.') || name.ends_with(storage::kTemporarySuffix)) continue;
    if (!entry->is_directory(ignored) || !looks_like_checkpoint(entry->path())) continue;
    all.push_back(candidate_of(folder, name, bad));
  }
  if (error) throw base::SystemError("readdir", error.value(), folder + ": " + error.message());
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    if (a.manifest.has_value() != b.manifest.has_value()) return !a.manifest.has_value();
    if (a.manifest && a.manifest->step != b.manifest->step) {
      return a.manifest->step > b.manifest->step;
    }
    return a.name > b.name;
  });
  return all;
}

void record_bad(const std::string& folder, const std::string& name, const std::string& id,
                const std::string& reason) {
  const std::string path = fmt::format("{}/{}", folder, kBadFile);
  std::error_code error;
  if (fs::exists(path, error)) {
    const std::string text = base::read_text(path);
    if (!text.empty() && text.back() != '\n') base::append_line_durably(path, "");
  }
  const nlohmann::json line = {{"name", name},
                               {"id", id},
                               {"reason", reason},
                               {"unix_time", static_cast<int64_t>(std::time(nullptr))}};
  // Reasons may quote bytes of damaged files.
  base::append_line_durably(path,
                            line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

void check_name(const std::string& name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
  });
  if (name.empty() || !plain || name[0] == '.' || name.ends_with(storage::kTemporarySuffix) ||
      name == kLatestFile || name == kBadFile) {
    base::fail_user(
        "'{}' cannot be the name of a checkpoint: letters, digits, '-', '_' and '.' are allowed, "
        "not at the start '.', not at the end '.tmp', not LATEST or BAD.",
        name);
  }
}

}  // namespace rondo::checkpoint
