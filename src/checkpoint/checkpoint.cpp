#include "checkpoint/checkpoint.hpp"

#include <map>

#include "base/error.hpp"
#include "base/file.hpp"
#include "checkpoint/catalogue.hpp"
#include "checkpoint/manifest.hpp"
#include "checkpoint/shard_reader.hpp"
#include "checkpoint/verify.hpp"

namespace rondo::checkpoint {

struct Checkpoint::Contents {
  Contents(const std::string& path, const Manifest& manifest) : shards(path, manifest) {
    for (size_t t = 0; t < manifest.tensors.size(); ++t) index[manifest.tensors[t].name] = t;
  }
  std::map<std::string, size_t> index;
  ShardReader shards;
};

Checkpoint::Checkpoint(std::string path, std::unique_ptr<Manifest> manifest)
    : path_(std::move(path)),
      manifest_(std::move(manifest)),
      contents_(std::make_unique<Contents>(path_, *manifest_)) {}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;

const std::string& Checkpoint::path() const { return path_; }
const std::string& Checkpoint::name() const { return manifest_->name; }
int64_t Checkpoint::step() const { return manifest_->step; }
const std::string& Checkpoint::digest() const { return manifest_->digest; }
const nlohmann::json& Checkpoint::state() const { return manifest_->state; }
const std::vector<LogicalTensor>& Checkpoint::tensors() const { return manifest_->tensors; }

bool Checkpoint::has(const std::string& tensor) const { return contents_->index.contains(tensor); }

const LogicalTensor& Checkpoint::tensor(const std::string& name) const {
  const auto found = contents_->index.find(name);
  if (found == contents_->index.end()) {
    base::fail_user("{}: has no tensor {} among its {}.", path_, name, manifest_->tensors.size());
  }
  return manifest_->tensors[found->second];
}

void Checkpoint::read(const std::string& name, base::Strided elements, float* out,
                      int64_t out_stride) const {
  const LogicalTensor& wanted = tensor(name);
  if (elements.empty()) return;
  RONDO_CHECK(elements.begin >= 0 && elements.end() <= wanted.count(),
              "elements [{}, {}) of {}, which has {}", elements.begin, elements.end(), name,
              wanted.count());
  contents_->shards.read(contents_->index.at(name), elements, out, out_stride);
}

std::vector<float> Checkpoint::read_all(const std::string& name) const {
  const int64_t count = tensor(name).count();
  std::vector<float> values(static_cast<size_t>(count));
  read(name, base::Slice{0, count}, values.data());
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
