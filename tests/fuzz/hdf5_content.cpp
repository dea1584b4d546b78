#include "fuzz/hdf5_content.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>

#include "storage/hdf5_call.hpp"

namespace rondo::fuzz {

namespace {

using storage::Handle;
using storage::Type;

constexpr hsize_t kMostWritten = 1 << 16;  // bytes of a dataset; larger ones stay unwritten

Handle type_of(const Dataset& dataset) {
  const hid_t plain = storage::file_type(dataset.type);
  const auto size = static_cast<size_t>(storage::bytes_of(dataset.type));
  const auto owned = [](hid_t id) { return Handle(id, H5Tclose); };
  const auto sized = [&](hid_t model, size_t bytes) {
    Handle type(H5Tcopy(model), H5Tclose);
    H5Tset_size(type.get(), bytes);
    return type;
  };
  switch (dataset.oddity) {
    case Oddity::kBigEndian: {
      Handle type = owned(H5Tcopy(plain));
      H5Tset_order(type.get(), H5T_ORDER_BE);
      return type;
    }
    case Oddity::kFewerBits: {
      Handle type = owned(H5Tcopy(plain));
      H5Tset_precision(type.get(), 8 * size - 3);
      return type;
    }
    case Oddity::kText:
      return sized(H5T_C_S1, size);
    case Oddity::kVariableText:
      return sized(H5T_C_S1, H5T_VARIABLE);
    case Oddity::kEnumeration: {
      Handle type = owned(H5Tenum_create(plain));
      const std::array<char, 8> zero{};
      if (type.get() >= 0) H5Tenum_insert(type.get(), "zero", zero.data());
      return type;
    }
    case Oddity::kCompound: {
      Handle type = owned(H5Tcreate(H5T_COMPOUND, size));
      H5Tinsert(type.get(), "value", 0, plain);
      return type;
    }
    case Oddity::kArray: {
      const hsize_t one = 1;
      return owned(H5Tarray_create2(plain, 1, &one));
    }
    case Oddity::kOpaque:
      return owned(H5Tcreate(H5T_OPAQUE, size));
    default:
      return owned(H5Tcopy(plain));
  }
}

Handle space_of(const std::vector<int64_t>& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const std::vector<hsize_t> size(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(size.size()), size.data(), nullptr), H5Sclose};
}

// Bytes of the whole, or more than kMostWritten.
hsize_t bytes_of(const Dataset& dataset) {
  auto bytes = static_cast<hsize_t>(storage::bytes_of(dataset.type));
  for (const int64_t extent : dataset.shape) {
    if (extent == 0) return 0;
    if (__builtin_mul_overflow(bytes, static_cast<hsize_t>(extent), &bytes)) return ~hsize_t{0};
  }
  return bytes;
}

Handle properties_of(const Dataset& dataset, const std::string& other) {
  Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const hid_t id = properties.get();
  H5Pset_fill_time(id, H5D_FILL_TIME_NEVER);
  std::vector<hsize_t> chunk(dataset.shape.size(), 1);
  if (!chunk.empty()) chunk[0] = 2;
  for (size_t i = 1; i < chunk.size(); ++i) {
    chunk[i] = static_cast<hsize_t>(std::clamp<int64_t>(dataset.shape[i], 1, 64));
  }
  const auto set_chunk = [&] {
    H5Pset_chunk(id, static_cast<int>(chunk.size()), chunk.data());
    H5Pset_alloc_time(id, H5D_ALLOC_TIME_INCR);
  };
  switch (dataset.stored) {
    case Stored::kChunked:
    case Stored::kPartlyWritten:
      set_chunk();
      break;
    case Stored::kWideChunks:
      if (!chunk.empty()) chunk[0] = 64;
      set_chunk();
      break;
    case Stored::kCompact:
      H5Pset_layout(id, H5D_COMPACT);
      break;
    case Stored::kChecksummed:
      set_chunk();
      H5Pset_fletcher32(id);
      break;
    case Stored::kInAnotherFile:
      H5Pset_external(id, other.c_str(), 0, H5F_UNLIMITED);
      break;
    case Stored::kVirtual: {
      const Handle space = space_of(dataset.shape);
      H5Pset_virtual(id, space.get(), other.c_str(), dataset.name.c_str(), space.get());
      break;
    }
    default:
      break;
  }
  return properties;
}

// Extensible where the layout lets it be, as chunks may be wider than it only then.
Handle file_space_of(const Dataset& dataset) {
  Handle space = space_of(dataset.shape);
  if (dataset.stored == Stored::kWideChunks && !dataset.shape.empty()) {
    const std::vector<hsize_t> size(dataset.shape.begin(), dataset.shape.end());
    const std::vector<hsize_t> most(size.size(), H5S_UNLIMITED);
    space = {H5Screate_simple(static_cast<int>(size.size()), size.data(), most.data()), H5Sclose};
  }
  return space;
}

void write_dataset(const Handle& file, const Dataset& dataset, const std::string& other) {
  const char* name = dataset.name.c_str();
  if (dataset.stored == Stored::kMissing) return;
  if (dataset.stored == Stored::kSoftLink) {
    H5Lcreate_soft(name, file.get(), name, H5P_DEFAULT, H5P_DEFAULT);
    return;
  }
  if (dataset.stored == Stored::kExternalLink) {
    H5Lcreate_external(other.c_str(), name, file.get(), name, H5P_DEFAULT, H5P_DEFAULT);
    return;
  }
  if (dataset.stored == Stored::kGroup) {
    Handle(H5Gcreate2(file.get(), name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    return;
  }
  const Handle type = type_of(dataset);
  const Handle space = file_space_of(dataset);
  const Handle properties = properties_of(dataset, other);
  const Handle made(H5Dcreate2(file.get(), name, type.get(), space.get(), H5P_DEFAULT,
                               properties.get(), H5P_DEFAULT),
                    H5Dclose);
  const hsize_t bytes = bytes_of(dataset);
  const bool elsewhere =
      dataset.stored == Stored::kInAnotherFile || dataset.stored == Stored::kVirtual;
  if (made.get() < 0 || dataset.stored == Stored::kUnwritten || elsewhere || bytes == 0 ||
      bytes > kMostWritten || dataset.oddity == Oddity::kVariableText) {
    return;
  }
  std::string padded = dataset.bytes;
  padded.resize(bytes);
  if (dataset.stored == Stored::kPartlyWritten && !dataset.shape.empty()) {
    std::vector<hsize_t> size(dataset.shape.begin(), dataset.shape.end());
    const std::vector<hsize_t> start(size.size(), 0);
    std::fill(size.begin(), size.end(), 1);
    H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr);
    const Handle memory(H5Screate_simple(static_cast<int>(size.size()), size.data(), nullptr),
                        H5Sclose);
    H5Dwrite(made.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, padded.data());
    return;
  }
  H5Dwrite(made.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data());
}

Handle attribute_type(const Attribute& attribute) {
  if (attribute.form == Form::kFloat) return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose};
  if (!attribute.is_text) {
    return {H5Tcopy(attribute.form == Form::kSmall ? H5T_STD_I32LE : H5T_STD_I64LE), H5Tclose};
  }
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  const bool variable = attribute.form == Form::kPlain || attribute.form == Form::kTwo ||
                        attribute.form == Form::kNone;
  const size_t bytes =
      attribute.form == Form::kSmall ? 1 : std::max<size_t>(1, attribute.text.size());
  H5Tset_size(type.get(), variable ? H5T_VARIABLE : bytes);
  H5Tset_strpad(type.get(),
                attribute.form == Form::kSpacePadded ? H5T_STR_SPACEPAD : H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

void write_attribute(const Handle& file, const Attribute& attribute) {
  if (attribute.form == Form::kMissing) return;
  const Handle type = attribute_type(attribute);
  const hsize_t two = 2;
  const Handle space(attribute.form == Form::kTwo    ? H5Screate_simple(1, &two, nullptr)
                     : attribute.form == Form::kNone ? H5Screate(H5S_NULL)
                                                     : H5Screate(H5S_SCALAR),
                     H5Sclose);
  const Handle made(H5Acreate2(file.get(), attribute.name.c_str(), type.get(), space.get(),
                               H5P_DEFAULT, H5P_DEFAULT),
                    H5Aclose);
  if (made.get() < 0 || attribute.form == Form::kNone) return;
  const std::array<const char*, 2> texts = {attribute.text.c_str(), attribute.text.c_str()};
  const std::array<int64_t, 2> numbers = {attribute.number, attribute.number};
  const auto as_float = static_cast<double>(attribute.number);
  const void* value = numbers.data();
  std::string fixed = attribute.text;
  fixed.resize(std::max<size_t>(1, fixed.size()));
  if (attribute.form == Form::kFloat) {
    value = &as_float;
  } else if (attribute.is_text) {
    value = H5Tis_variable_str(type.get()) > 0 ? static_cast<const void*>(texts.data())
                                               : static_cast<const void*>(fixed.data());
  }
  H5Awrite(made.get(), type.get(), value);
}

// Puts `value` at an element, as its type holds it.
void set_element(Dataset& dataset, size_t element, int64_t value) {
  const auto size = static_cast<size_t>(storage::bytes_of(dataset.type));
  const size_t at = element * size;
  if (dataset.bytes.size() < at + size) dataset.bytes.resize(at + size);
  std::memcpy(dataset.bytes.data() + at, &value, size);
}

void set_fraction(Dataset& dataset, size_t element, size_t which) {
  using Float = std::numeric_limits<float>;
  constexpr std::array<float, 8> kValues = {0.0F,
                                            1.0F,
                                            0.5F,
                                            -1.0F,
                                            Float::max(),
                                            Float::infinity(),
                                            Float::quiet_NaN(),
                                            Float::denorm_min()};
  int64_t bits = 0;
  if (dataset.type == Type::kFloat64) {
    const double value = kValues.at(which % kValues.size());
    std::memcpy(&bits, &value, sizeof(value));
  } else {
    std::memcpy(&bits, &kValues.at(which % kValues.size()), sizeof(float));
  }
  set_element(dataset, element, bits);
}

template <class Enum>
Enum any_of(Input& input) {
  return static_cast<Enum>(input.below(static_cast<size_t>(Enum::kCount)));
}

}  // namespace

Dataset& Content::dataset(std::string_view name) {
  const auto found = std::ranges::find(datasets, name, &Dataset::name);
  RONDO_CHECK(found != datasets.end(), "no dataset {}", name);
  return *found;
}

void edit(Content& content, Input& input) {
  const size_t what = input.below(10);
  Dataset& dataset = content.datasets[input.below(content.datasets.size())];
  Attribute& attribute = content.attributes[input.below(content.attributes.size())];
  switch (what) {
    case 0: {
      const size_t element = input.byte();
      set_element(dataset, element, input.number());
      return;
    }
    case 1: {
      const size_t element = input.byte();
      set_fraction(dataset, element, input.byte());
      return;
    }
    case 2:
      if (!dataset.shape.empty()) {
        dataset.shape[0] = std::max<int64_t>(0, input.number());
      }
      return;
    case 3: {
      dataset.shape.assign(input.below(4), 0);
      for (int64_t& extent : dataset.shape) extent = std::max<int64_t>(0, input.number());
      return;
    }
    case 4:
      dataset.type = static_cast<Type>(input.below(8));
      return;
    case 5:
      dataset.oddity = any_of<Oddity>(input);
      return;
    case 6:
      dataset.stored = any_of<Stored>(input);
      return;
    case 7:
      attribute.form = any_of<Form>(input);
      return;
    case 8:
      attribute.is_text = false;
      attribute.number = input.number();
      return;
    default:
      attribute.is_text = true;
      attribute.text = input.text();
      return;
  }
}

std::string write_content(const std::string& name, const Content& content,
                          const std::string& other) {
  storage::hdf5_version();  // sets the library up as the readers do
  std::string path = folder() + "/" + name;
  ::unlink(path.c_str());
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  for (const Attribute& attribute : content.attributes) write_attribute(file, attribute);
  for (const Dataset& dataset : content.datasets) write_dataset(file, dataset, other);
  RONDO_CHECK(file.close() >= 0);
  H5Eclear2(H5E_DEFAULT);
  return path;
}

}  // namespace rondo::fuzz
