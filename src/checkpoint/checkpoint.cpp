#include "checkpoint/checkpoint.hpp"

#include <algorithm>
#include <map>
#include <span>

#include "base/error.hpp"
#include "base/file.hpp"
#include "checkpoint/catalogue.hpp"
#include "checkpoint/manifest.hpp"
#include "checkpoint/verify.hpp"

namespace rondo::checkpoint {

namespace {

constexpr size_t kOpenFiles = 64;

struct Location {
  size_t shard = 0;
  Segment segment;
};

}  // namespace

// Where each tensor's elements lie, and the shards opened so far.
struct Checkpoint::Files {
  explicit Files(const Manifest& manifest) : of_tensor(manifest.tensors.size()) {
    for (size_t t = 0; t < manifest.tensors.size(); ++t) index[manifest.tensors[t].name] = t;
    for (size_t s = 0; s < manifest.shards.size(); ++s) {
      for (const Segment& segment : manifest.shards[s].segments) {
        of_tensor[segment.tensor].push_back({s, segment});
      }
    }
    for (std::vector<Location>& locations : of_tensor) {
      std::sort(locations.begin(), locations.end(), [](const Location& a, const Location& b) {
        return a.segment.elements.begin < b.segment.elements.begin;
      });
    }
  }

  const base::File& shard(const std::string& folder, const Manifest& manifest, size_t number) {
    if (const auto found = open.find(number); found != open.end()) return found->second;
    if (open.size() >= kOpenFiles) open.clear();
    return open.emplace(number, base::File::open_read(folder + "/" + manifest.shards[number].file))
        .first->second;
  }

  std::map<std::string, size_t> index;
  std::vector<std::vector<Location>> of_tensor;  // by first element
  std::map<size_t, base::File> open;
};

Checkpoint::Checkpoint(std::string path, std::unique_ptr<Manifest> manifest)
    : path_(std::move(path)),
      manifest_(std::move(manifest)),
      files_(std::make_unique<Files>(*manifest_)) {}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;

const std::string& Checkpoint::path() const { return path_; }
const std::string& Checkpoint::name() const { return manifest_->name; }
int64_t Checkpoint::step() const { return manifest_->step; }
const std::string& Checkpoint::digest() const { return manifest_->digest; }
const nlohmann::json& Checkpoint::state() const { return manifest_->state; }
const std::vector<LogicalTensor>& Checkpoint::tensors() const { return manifest_->tensors; }

bool Checkpoint::has(const std::string& tensor) const { return files_->index.contains(tensor); }

const LogicalTensor& Checkpoint::tensor(const std::string& name) const {
  const auto found = files_->index.find(name);
  if (found == files_->index.end()) {
    base::fail_user("{}: has no tensor {} among its {}.", path_, name, manifest_->tensors.size());
  }
  return manifest_->tensors[found->second];
}

void Checkpoint::read(const std::string& name, base::Slice elements, float* out) const {
  const LogicalTensor& wanted = tensor(name);
  RONDO_CHECK(
      elements.begin >= 0 && elements.begin <= elements.end && elements.end <= wanted.count(),
      "elements [{}, {}) of {}, which has {}", elements.begin, elements.end, name, wanted.count());
  const std::vector<Location>& locations = files_->of_tensor[files_->index.at(name)];
  auto location = std::upper_bound(locations.begin(), locations.end(), elements.begin,
                                   [](int64_t element, const Location& other) {
                                     return element < other.segment.elements.begin;
                                   });
  for (--location; location != locations.end(); ++location) {
    const base::Slice here = base::intersect(location->segment.elements, elements);
    if (here.empty()) break;
    const Shard& shard = manifest_->shards[location->shard];
    const int64_t offset = location->segment.offset + here.begin - location->segment.elements.begin;
    const std::span<float> target(out + (here.begin - elements.begin),
                                  static_cast<size_t>(here.size()));
    files_->shard(path_, *manifest_, location->shard)
        .read_at(shard.data_at + 4 * offset, std::as_writable_bytes(target));
  }
}

std::vector<float> Checkpoint::read_all(const std::string& name) const {
  const int64_t count = tensor(name).count();
  std::vector<float> values(static_cast<size_t>(count));
  read(name, {0, count}, values.data());
  return values;
}

Checkpoint Checkpoint::open(const std::string& path, comm::Control& control, Verify verify) {
  const std::string manifest_path = fmt::format("{}/{}", path, kManifestFile);
  std::string text;
  control.on_first([&] { text = base::read_text(manifest_path); });
  text = control.broadcast_text(text);
  std::unique_ptr<Manifest> manifest;
  control.agree(
      [&] { manifest = std::make_unique<Manifest>(parse_manifest(text, manifest_path)); });
  const std::string damage = damage_of(path, *manifest, control, verify);
  if (!damage.empty()) {
    base::fail_user("{}: is not a whole checkpoint: {} Use another one, or copy it again.", path,
                    damage);
  }
  return {path, std::move(manifest)};
}

std::optional<Checkpoint> Checkpoint::open_newest(const std::string& folder, comm::Control& control,
                                                  base::Console& console, Verify verify,
                                                  const Accept& accept) {
  // Candidates and reasons exist on rank 0 alone, which decides.
  std::vector<Candidate> candidates;
  std::string reasons;
  control.on_first([&] {
    candidates = find_candidates(folder);
    if (!accept) return;
    std::erase_if(candidates, [&](const Candidate& candidate) {
      return candidate.manifest && !accept(candidate.name, candidate.manifest->state);
    });
  });
  const auto reject = [&](const Candidate& candidate, const std::string& reason) {
    reasons += fmt::format("\n  {}: {}", candidate.name, reason);
    if (candidate.known_bad) {
      console.warn("[checkpoint] {}/{} was found damaged before and is left out: {}", folder,
                   candidate.name, reason);
      return;
    }
    console.warn("[checkpoint] {}/{} is damaged and will not be used: {}", folder, candidate.name,
                 reason);
    try {
      record_bad(folder, candidate.name, candidate.manifest ? candidate.manifest->id : "", reason);
    } catch (const std::exception& error) {
      console.warn("[checkpoint] BAD could not be written: {}", error.what());
    }
  };
  for (size_t next = 0;;) {
    for (; next < candidates.size() && !candidates[next].damage.empty(); ++next) {
      reject(candidates[next], candidates[next].damage);
    }
    const bool mine = next < candidates.size();
    const std::string name = control.broadcast_text(mine ? candidates[next].name : "");
    if (name.empty()) break;
    const std::string text = control.broadcast_text(mine ? candidates[next].text : "");
    const std::string path = folder + "/" + name;
    auto manifest = std::make_unique<Manifest>(parse_manifest(text, path));
    const std::string damage = damage_of(path, *manifest, control, verify);
    if (damage.empty()) return Checkpoint(path, std::move(manifest));
    if (control.is_first()) reject(candidates[next++], damage);
  }
  const std::string all = control.broadcast_text(reasons);
  if (all.empty()) return std::nullopt;
  throw base::SystemError(fmt::format(
      "{}: none of the checkpoints can be used:{}\nRestore one from a copy (and remove its line "
      "from {}/{}), or move the folder away to start from the beginning.",
      folder, all, folder, kBadFile));
}

}  // namespace rondo::checkpoint
