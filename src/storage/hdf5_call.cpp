#include "storage/hdf5_call.hpp"

namespace rondo::storage {

namespace {
std::recursive_mutex g_hdf5_mutex;
}

Hdf5Lock::Hdf5Lock() : hold_(g_hdf5_mutex) {
  // After a failed write the library's own clean-up at exit can crash; what we open we close. This
  // must be the first call to it.
  static const herr_t no_clean_up = H5dont_atexit();
  static const herr_t quiet = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  RONDO_CHECK(no_clean_up >= 0 && quiet >= 0);
}

std::string hdf5_error() {
  std::vector<std::string> reasons;
  const auto collect = [](unsigned, const H5E_error2_t* entry, void* out) -> herr_t {
    if (entry->desc != nullptr && *entry->desc != '\0') {
      static_cast<std::vector<std::string>*>(out)->emplace_back(entry->desc);
    }
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect, &reasons);
  H5Eclear2(H5E_DEFAULT);
  if (reasons.empty()) return "no reason given";
  return reasons.size() == 1 ? reasons[0] : fmt::format("{} ({})", reasons.front(), reasons.back());
}

hid_t file_type(Type type) {
  switch (type) {
    case Type::kUint8:
      return H5T_STD_U8LE;
    case Type::kUint16:
      return H5T_STD_U16LE;
    case Type::kUint32:
      return H5T_STD_U32LE;
    case Type::kInt32:
      return H5T_STD_I32LE;
    case Type::kInt64:
      return H5T_STD_I64LE;
    case Type::kUint64:
      return H5T_STD_U64LE;
    case Type::kFloat32:
      return H5T_IEEE_F32LE;
    case Type::kFloat64:
      return H5T_IEEE_F64LE;
  }
  throw base::Bug("unknown storage type");
}

std::string describe_type(hid_t type) {
  const size_t bits = H5Tget_size(type) * 8;
  const char* order = H5Tget_order(type) == H5T_ORDER_BE && bits > 8 ? " (big-endian)" : "";
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return fmt::format("{}int{}{}", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits, order);
    case H5T_FLOAT:
      return fmt::format("float{}{}", bits, order);
    case H5T_STRING:
      return "text";
    case H5T_ENUM:
      return "enumeration";
    case H5T_COMPOUND:
      return "compound";
    case H5T_VLEN:
      return "variable-length";
    default:
      return "another class of type";
  }
}

Handle make_properties(hid_t kind, const std::string& path) {
  return {TRY_HDF5(H5Pcreate, path, kind), H5Pclose};
}

std::vector<hsize_t> extents(const std::vector<int64_t>& shape) {
  RONDO_CHECK(!shape.empty() && shape.size() <= H5S_MAX_RANK);
  std::vector<hsize_t> result;
  for (const int64_t extent : shape) {
    RONDO_CHECK(extent >= 0, "a dimension of {}", extent);
    result.push_back(static_cast<hsize_t>(extent));
  }
  return result;
}

Handle make_space(const std::vector<int64_t>& shape, const std::string& path) {
  const std::vector<hsize_t> size = extents(shape);
  return {TRY_HDF5(H5Screate_simple, path, static_cast<int>(size.size()), size.data(), nullptr),
          H5Sclose};
}

Handle make_link_properties(const std::string& path) {
  Handle links = make_properties(H5P_LINK_CREATE, path);
  TRY_HDF5(H5Pset_create_intermediate_group, path, links.get(), 1U);
  return links;
}

}  // namespace rondo::storage
