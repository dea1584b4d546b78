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
// Neighbouring runs of a file with no more between them are read at once; the most of one read.
constexpr int64_t kGapBytes = int64_t{16} << 10;
constexpr int64_t kWindowBytes = int64_t{4} << 20;

struct Location {
  size_t shard = 0;
  Segment segment;
};

// The segments that hold a tensor.
struct Locations {
  std::vector<Location> by_begin;
  int64_t longest = 0;  // from first to last element of any of them
};

// Elements that lie end to end in a file, and where they are wanted.
struct Extent {
  size_t shard = 0;
  int64_t offset = 0;  // in elements of the shard
  int64_t count = 0;
  float* out = nullptr;
};

// Adds the extents of elements [wanted) of a tensor.
void find_extents(const Locations& locations, base::Slice wanted, float* out,
                  std::vector<Extent>& extents) {
  const auto& all = locations.by_begin;
  auto location = std::lower_bound(all.begin(), all.end(), wanted.begin - locations.longest,
                                   [](const Location& other, int64_t element) {
                                     return other.segment.elements.begin < element;
                                   });
  for (; location != all.end() && location->segment.elements.begin < wanted.end; ++location) {
    const base::Strided& stored = location->segment.elements;
    int64_t first = 0;
    int64_t last = stored.count;
    if (stored.count > 1) {
      const int64_t before = wanted.begin - stored.begin - stored.length;
      first = before < 0 ? 0 : before / stored.stride;
      last = std::min(last, base::ceil_div(wanted.end - stored.begin, stored.stride));
    }
    for (int64_t k = first; k < last; ++k) {
      const base::Slice run = stored.run(k);
      const base::Slice here = base::intersect(run, wanted);
      if (here.empty()) continue;
      extents.push_back({location->shard,
                         location->segment.offset + k * stored.length + here.begin - run.begin,
                         here.size(), out + (here.begin - wanted.begin)});
    }
  }
}

}  // namespace

// Where each tensor's elements lie, and the shards opened so far.
struct Checkpoint::Files {
  explicit Files(const Manifest& manifest) : of_tensor(manifest.tensors.size()) {
    for (size_t t = 0; t < manifest.tensors.size(); ++t) index[manifest.tensors[t].name] = t;
    for (size_t s = 0; s < manifest.shards.size(); ++s) {
      for (const Segment& segment : manifest.shards[s].segments) {
        Locations& locations = of_tensor[segment.tensor];
        locations.by_begin.push_back({s, segment});
        locations.longest =
            std::max(locations.longest, segment.elements.end() - segment.elements.begin);
      }
    }
    for (Locations& locations : of_tensor) {
      std::ranges::sort(locations.by_begin, {},
                        [](const Location& location) { return location.segment.elements.begin; });
    }
  }

  const base::File& shard(const std::string& folder, const Manifest& manifest, size_t number) {
    if (const auto found = open.find(number); found != open.end()) return found->second;
    if (open.size() >= kOpenFiles) open.clear();
    return open.emplace(number, base::File::open_read(folder + "/" + manifest.shards[number].file))
        .first->second;
  }

  // Reads extents in the order of the files; what lies closely together by one call.
  void read(const std::string& folder, const Manifest& manifest, std::vector<Extent>& extents) {
    std::ranges::sort(extents, [](const Extent& a, const Extent& b) {
      return a.shard != b.shard ? a.shard < b.shard : a.offset < b.offset;
    });
    for (size_t i = 0; i < extents.size();) {
      const Extent& first = extents[i];
      size_t next = i + 1;
      int64_t end = first.offset + first.count;
      while (next < extents.size() && extents[next].shard == first.shard &&
             4 * (extents[next].offset - end) <= kGapBytes &&
             4 * (extents[next].offset + extents[next].count - first.offset) <= kWindowBytes) {
        end = extents[next].offset + extents[next].count;
        ++next;
      }
      const base::File& file = shard(folder, manifest, first.shard);
      const int64_t at = manifest.shards[first.shard].data_at + 4 * first.offset;
      if (next == i + 1) {
        const std::span<float> out(first.out, static_cast<size_t>(first.count));
        file.read_at(at, std::as_writable_bytes(out));
      } else {
        window.resize(static_cast<size_t>(end - first.offset));
        file.read_at(at, std::as_writable_bytes(std::span(window)));
        for (size_t k = i; k < next; ++k) {
          std::copy_n(window.data() + (extents[k].offset - first.offset), extents[k].count,
                      extents[k].out);
        }
      }
      i = next;
    }
  }

  std::map<std::string, size_t> index;
  std::vector<Locations> of_tensor;
  std::map<size_t, base::File> open;
  std::vector<float> window;
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

void Checkpoint::read(const std::string& name, base::Strided elements, float* out,
                      int64_t out_stride) const {
  const LogicalTensor& wanted = tensor(name);
  if (elements.empty()) return;
  RONDO_CHECK(elements.begin >= 0 && elements.end() <= wanted.count(),
              "elements [{}, {}) of {}, which has {}", elements.begin, elements.end(), name,
              wanted.count());
  const Locations& locations = files_->of_tensor[files_->index.at(name)];
  std::vector<Extent> extents;
  for (int64_t k = 0; k < elements.count; ++k) {
    find_extents(locations, elements.run(k), out + k * out_stride, extents);
  }
  files_->read(path_, *manifest_, extents);
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
