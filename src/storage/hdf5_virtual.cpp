// Virtual datasets: pieces of other files seen as one array.
#include <functional>
#include <limits>

#include "base/error.hpp"
#include "storage/hdf5.hpp"
#include "storage/hdf5_call.hpp"

namespace rondo::storage {

namespace {

using Box =
    std::function<void(const std::vector<hsize_t>& start, const std::vector<hsize_t>& size)>;

// Cuts elements [begin, end) of a row-major array into boxes, in order: at most two per dimension
// less one.
void cut_into_boxes(const std::vector<hsize_t>& shape, size_t dim, std::vector<hsize_t> start,
                    std::vector<hsize_t> size, hsize_t begin, hsize_t end, const Box& emit) {
  if (begin >= end) return;
  hsize_t inner = 1;
  for (size_t i = dim + 1; i < shape.size(); ++i) inner *= shape[i];
  const auto rows = [&](hsize_t first, hsize_t count) {
    if (count == 0) return;
    start[dim] = first;
    size[dim] = count;
    for (size_t i = dim + 1; i < shape.size(); ++i) {
      start[i] = 0;
      size[i] = shape[i];
    }
    emit(start, size);
  };
  const auto part_of_row = [&](hsize_t row, hsize_t from, hsize_t to) {
    start[dim] = row;
    size[dim] = 1;
    cut_into_boxes(shape, dim + 1, start, size, from, to, emit);
  };
  hsize_t first = begin / inner;
  const hsize_t last = end / inner;
  if (first == last) return part_of_row(first, begin % inner, end % inner);
  if (begin % inner != 0) part_of_row(first++, begin % inner, inner);
  rows(first, last - first);
  if (end % inner != 0) part_of_row(last, 0, end % inner);
}

}  // namespace

void Hdf5File::create_virtual(const std::string& name, const std::vector<int64_t>& shape,
                              const std::vector<VirtualPiece>& pieces) {
  const Hdf5Lock lock;
  const std::vector<hsize_t> target_size = extents(shape);
  const int64_t total = element_count(shape);
  const Handle space = make_space(shape, path_);
  const Handle properties = make_properties(H5P_DATASET_CREATE, path_);
  const float fill = std::numeric_limits<float>::quiet_NaN();
  TRY_HDF5(H5Pset_fill_value, path_, properties.get(), H5T_NATIVE_FLOAT, &fill);
  TRY_HDF5(H5Pset_obj_track_times, path_, properties.get(), false);
  for (const VirtualPiece& piece : pieces) {
    const base::Strided& target = piece.target;
    RONDO_CHECK(!target.empty() && target.begin >= 0 && piece.source_begin >= 0 &&
                    target.end() <= total &&
                    piece.source_begin + target.size() <= piece.source_total,
                "virtual dataset {}: piece of {} is out of range", name, piece.file);
    const Handle source = make_space({piece.source_total}, path_);
    auto source_begin = static_cast<hsize_t>(piece.source_begin);
    const auto map_box = [&](const std::vector<hsize_t>& start, const std::vector<hsize_t>& size) {
      hsize_t count = 1;
      for (const hsize_t extent : size) count *= extent;
      TRY_HDF5(H5Sselect_hyperslab, path_, space.get(), H5S_SELECT_SET, start.data(), nullptr,
               size.data(), nullptr);
      TRY_HDF5(H5Sselect_hyperslab, path_, source.get(), H5S_SELECT_SET, &source_begin, nullptr,
               &count, nullptr);
      TRY_HDF5(H5Pset_virtual, path_, properties.get(), space.get(), piece.file.c_str(),
               piece.dataset.c_str(), source.get());
      source_begin += count;
    };
    if (target.count > 1) {
      RONDO_CHECK(shape.size() == 2 && target.stride == shape[1]);
      map_box({static_cast<hsize_t>(target.begin / shape[1]),
               static_cast<hsize_t>(target.begin % shape[1])},
              {static_cast<hsize_t>(target.count), static_cast<hsize_t>(target.length)});
      continue;
    }
    cut_into_boxes(target_size, 0, std::vector<hsize_t>(shape.size(), 0),
                   std::vector<hsize_t>(shape.size(), 1), static_cast<hsize_t>(target.begin),
                   static_cast<hsize_t>(target.end()), map_box);
  }
  TRY_HDF5(H5Sselect_all, path_, space.get());
  const Handle links = make_link_properties(path_);
  const Handle dataset(TRY_HDF5(H5Dcreate2, path_, file_.get(), name.c_str(), H5T_IEEE_F32LE,
                                space.get(), links.get(), properties.get(), H5P_DEFAULT),
                       H5Dclose);
}

}  // namespace rondo::storage
