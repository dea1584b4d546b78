#include "checkpoint/manifest.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "checkpoint/digest.hpp"

namespace rondo::checkpoint {

using Json = nlohmann::json;

namespace {

constexpr std::string_view kHead = "{\n\"hash\": \"";
constexpr size_t kHashDigits = 32;

Json json_of(const Shard& shard) {
  Json parts = Json::array();
  for (const Part& part : shard.parts) {
    parts.push_back(
        {{"begin", part.range.begin}, {"end", part.range.end}, {"crc32c", part.crc32c}});
  }
  Json segments = Json::array();
  for (const Segment& s : shard.segments) {
    const base::Strided& e = s.elements;
    segments.push_back(
        e.count == 1 ? Json::array({s.tensor, e.begin, e.end(), s.offset})
                     : Json::array({s.tensor, e.begin, e.length, e.stride, e.count, s.offset}));
  }
  return {{"file", shard.file},       {"bytes", shard.bytes},
          {"data_at", shard.data_at}, {"elements", shard.elements},
          {"frame", shard.frame},     {"hash", shard.hash},
          {"parts", parts},           {"segments", segments}};
}

void require(bool condition, std::string_view what) {
  if (!condition) throw base::UserError(std::string(what));
}

int64_t number_of(const Json& value, std::string_view name) {
  const auto number = base::whole_number(value);
  require(number.has_value(), fmt::format("{} is not a whole number of 64 bits", name));
  return *number;
}
int64_t number_at(const Json& object, const char* key) { return number_of(object.at(key), key); }

const Json& list_at(const Json& object, const char* key) {
  const Json& list = object.at(key);
  require(list.is_array(), fmt::format("{} is not a list", key));
  return list;
}

uint32_t checksum_of(const Json& value) {
  const int64_t number = number_of(value, "crc32c");
  require(number >= 0 && number <= std::numeric_limits<uint32_t>::max(),
          "crc32c is not of 32 bits");
  return static_cast<uint32_t>(number);
}

// Not empty, and within [0, end).
bool lies_within(base::Slice slice, int64_t end) {
  return slice.begin >= 0 && slice.begin < slice.end && slice.end <= end;
}

bool plain_file_name(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos;
}

LogicalTensor tensor_of(const Json& json) {
  LogicalTensor tensor{json.at("name").get<std::string>(), {}};
  for (const Json& size : list_at(json, "shape")) tensor.shape.push_back(number_of(size, "shape"));
  require(!tensor.name.empty() && !tensor.shape.empty(), "a tensor has no name or no shape");
  int64_t count = 1;
  for (const int64_t size : tensor.shape) {
    require(size >= 1 && !__builtin_mul_overflow(count, size, &count) &&
                count <= std::numeric_limits<int64_t>::max() / 8,
            fmt::format("tensor {} has an impossible shape", tensor.name));
  }
  return tensor;
}

Segment segment_of(const Json& item) {
  require(item.is_array() && (item.size() == 4 || item.size() == 6),
          "a segment is neither [tensor, begin, end, offset] nor [tensor, begin, length, stride, "
          "count, offset]");
  const auto number = [&](size_t i) { return number_of(item[i], "a number of a segment"); };
  const auto tensor = static_cast<size_t>(number(0));
  if (item.size() == 6) return {tensor, {number(1), number(2), number(3), number(4)}, number(5)};
  const base::Slice slice{number(1), number(2)};
  require(lies_within(slice, std::numeric_limits<int64_t>::max()), "a segment has no elements");
  return {tensor, slice, number(3)};
}

Shard shard_of(const Json& json, const std::vector<LogicalTensor>& tensors) {
  Shard shard;
  shard.file = json.at("file").get<std::string>();
  require(plain_file_name(shard.file), fmt::format("'{}' is not a plain file name", shard.file));
  shard.bytes = number_at(json, "bytes");
  shard.data_at = number_at(json, "data_at");
  shard.elements = number_at(json, "elements");
  shard.frame = json.at("frame").get<std::string>();
  require(shard.data_at >= 0 && shard.elements >= 1 && shard.bytes >= shard.data_at &&
              (shard.bytes - shard.data_at) / 4 >= shard.elements,
          fmt::format("{}: {} elements at byte {} do not fit into {} bytes", shard.file,
                      shard.elements, shard.data_at, shard.bytes));
  int64_t next = 0;
  for (const Json& item : list_at(json, "parts")) {
    Part part;
    part.range = {number_at(item, "begin"), number_at(item, "end")};
    for (const Json& one : list_at(item, "crc32c")) part.crc32c.push_back(checksum_of(one));
    require(
        part.range.begin == next && lies_within(part.range, shard.elements) &&
            static_cast<int64_t>(part.crc32c.size()) == base::ceil_div(part.range.size(), kBlock),
        fmt::format("{}: the part at element {} is malformed", shard.file, part.range.begin));
    next = part.range.end;
    shard.parts.push_back(std::move(part));
  }
  require(next == shard.elements,
          fmt::format("{}: parts end at element {} of {}", shard.file, next, shard.elements));
  next = 0;
  for (const Json& item : list_at(json, "segments")) {
    const Segment segment = segment_of(item);
    require(segment.tensor < tensors.size() && segment.offset == next &&
                range_fault(tensors[segment.tensor], segment.elements).empty() &&
                segment.elements.size() <= shard.elements - next,
            fmt::format("{}: the segment at element {} is malformed", shard.file, segment.offset));
    next += segment.elements.size();
    shard.segments.push_back(segment);
  }
  require(next == shard.elements,
          fmt::format("{}: segments end at element {} of {}", shard.file, next, shard.elements));
  shard.hash = json.value("hash", "");
  require(shard.hash.empty() || shard.hash == whole_hash(shard),
          fmt::format("{}: its hash is not that of its frame and CRCs", shard.file));
  return shard;
}

void check_hash(const std::string& text) {
  const size_t at = kHead.size();
  require(text.starts_with(kHead) && text.size() > at + kHashDigits,
          "it does not begin with a hash");
  std::string zeroed = text;
  zeroed.replace(at, kHashDigits, kHashDigits, '0');
  require(base::hash_hex(zeroed) == text.substr(at, kHashDigits),
          "its text does not have the hash that it names: it was changed or damaged");
}

Manifest manifest_of(const Json& json) {
  Manifest manifest;
  manifest.id = json.at("id").get<std::string>();
  manifest.name = json.at("name").get<std::string>();
  manifest.step = number_at(json, "step");
  manifest.digest = json.at("digest").get<std::string>();
  parse_digest(manifest.digest);
  manifest.state = json.at("state");
  require(manifest.state.is_object(), "state is not an object");
  std::set<std::string> names;
  for (const Json& item : list_at(json, "tensors")) {
    manifest.tensors.push_back(tensor_of(item));
    require(names.insert(manifest.tensors.back().name).second,
            fmt::format("tensor {} is there twice", manifest.tensors.back().name));
  }
  names.clear();
  for (const Json& item : list_at(json, "shards")) {
    manifest.shards.push_back(shard_of(item, manifest.tensors));
    require(names.insert(manifest.shards.back().file).second,
            fmt::format("shard {} is there twice", manifest.shards.back().file));
  }
  manifest.logical_bytes = number_at(json.at("logical"), "bytes");
  manifest.logical_hash = json.at("logical").at("hash").get<std::string>();
  int64_t all_bytes = manifest.logical_bytes;
  bool possible = all_bytes >= 0;
  for (const Shard& shard : manifest.shards) {
    possible = possible && !__builtin_add_overflow(all_bytes, shard.bytes, &all_bytes);
  }
  require(possible, "the sizes of its files are impossible");
  const std::string fault = coverage_fault(manifest.tensors, manifest.shards);
  require(fault.empty(), fault);
  return manifest;
}

}  // namespace

int64_t LogicalTensor::count() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

int64_t count_of(const std::vector<LogicalTensor>& tensors) {
  int64_t count = 0;
  for (const LogicalTensor& tensor : tensors) count += tensor.count();
  return count;
}

int64_t Manifest::file_bytes() const {
  int64_t bytes = logical_bytes;
  for (const Shard& shard : shards) bytes += shard.bytes;
  return bytes;
}

std::string whole_hash(const Shard& shard) {
  base::Hasher hasher;
  hasher.add(shard.frame);
  for (const Part& part : shard.parts) {
    for (const uint32_t crc : part.crc32c) hasher.add(fmt::format(" {:08x}", crc));
  }
  return hasher.hex();
}

std::string range_fault(const LogicalTensor& tensor, const base::Strided& e) {
  const int64_t count = tensor.count();
  if (e.begin < 0 || e.length < 1 || e.count < 1 || e.begin > count || e.length > count ||
      e.count > count) {
    return "it is no range";
  }
  if (e.count > 1 && (tensor.shape.size() != 2 || e.stride != tensor.shape[1] ||
                      e.begin % e.stride + e.length > e.stride)) {
    return "its runs are not parts of the rows of a matrix";
  }
  // Without an overflow: begin is inside, and so few runs of a row's length cannot reach far.
  if (e.count > 1 && e.begin / e.stride + e.count > tensor.shape[0]) return "it leaves the tensor";
  if (e.count == 1 && e.length > count - e.begin) return "it leaves the tensor";
  return {};
}

std::string coverage_fault(const std::vector<LogicalTensor>& tensors,
                           const std::vector<Shard>& shards) {
  std::vector<std::vector<base::Strided>> stored(tensors.size());
  for (const Shard& shard : shards) {
    for (const Segment& segment : shard.segments) {
      stored[segment.tensor].push_back(segment.elements);
    }
  }
  std::vector<base::Slice> runs;  // of one tensor at a time
  for (size_t t = 0; t < tensors.size(); ++t) {
    runs.clear();
    for (const base::Strided& elements : stored[t]) {
      for (int64_t k = 0; k < elements.count; ++k) runs.push_back(elements.run(k));
    }
    std::sort(runs.begin(), runs.end(), [](base::Slice a, base::Slice b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    runs.push_back({tensors[t].count(), tensors[t].count()});
    int64_t next = 0;
    for (const base::Slice slice : runs) {
      if (slice.begin != next) {
        return fmt::format("elements [{}, {}) of tensor {} are stored {}",
                           std::min(slice.begin, next), std::max(slice.begin, next),
                           tensors[t].name, slice.begin > next ? "nowhere" : "more than once");
      }
      next = slice.end;
    }
  }
  return {};
}

std::string manifest_text(const Manifest& manifest) {
  Json tensors = Json::array();
  for (const LogicalTensor& t : manifest.tensors) {
    tensors.push_back({{"name", t.name}, {"shape", t.shape}});
  }
  std::string text(kHead);
  text.append(kHashDigits, '0');
  text += fmt::format("\",\n\"format\": \"{}\",\n\"version\": {},\n\"id\": {},\n\"name\": {},\n",
                      kFormat, kVersion, Json(manifest.id).dump(), Json(manifest.name).dump());
  text += fmt::format("\"step\": {},\n\"digest\": \"{}\",\n\"state\": {},\n", manifest.step,
                      manifest.digest, manifest.state.dump());
  text += fmt::format("\"logical\": {{\"file\": \"{}\", \"bytes\": {}, \"hash\": \"{}\"}},\n",
                      kLogicalFile, manifest.logical_bytes, manifest.logical_hash);
  text += "\"tensors\": " + tensors.dump() + ",\n\"shards\": [";
  for (size_t s = 0; s < manifest.shards.size(); ++s) {
    text += (s == 0 ? "\n" : ",\n") + json_of(manifest.shards[s]).dump();
  }
  text += "\n]\n}\n";
  return text.replace(kHead.size(), kHashDigits, base::hash_hex(text));
}

Manifest parse_manifest(const std::string& text, const std::string& path) {
  const Json json =
      base::parse_json(text, fmt::format("{}: is not a usable manifest: its text", path), "");
  try {
    require(json.is_object() && json.value("format", "") == kFormat,
            fmt::format("it is not of the format {}", kFormat));
    const int64_t version = number_at(json, "version");
    require(version >= 1 && version <= kVersion,
            fmt::format("its version is {}, this program reads versions 1 to {}: use a newer rondo",
                        version, kVersion));
    check_hash(text);
    return manifest_of(json);
  } catch (const Json::exception& error) {
    base::fail_user("{}: is not a usable manifest: {}.", path, error.what());
  } catch (const base::UserError& error) {
    base::fail_user("{}: is not a usable manifest: {}.", path, error.what());
  }
}

}  // namespace rondo::checkpoint
