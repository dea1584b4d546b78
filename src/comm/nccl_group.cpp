#include "comm/nccl_group.hpp"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <cstddef>
#include <exception>
#include <string>
#include <utility>

#include "comm/nccl_try.hpp"

namespace rondo::comm {

bool has_nccl() { return true; }

class NcclDevice {
 public:
  explicit NcclDevice(int index)
      : index_(static_cast<c10::DeviceIndex>(index)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, index_)) {}

  c10::DeviceIndex index() const { return index_; }
  const c10::cuda::CUDAStream& stream() const { return stream_; }

 private:
  c10::DeviceIndex index_;
  c10::cuda::CUDAStream stream_;
};

std::shared_ptr<NcclDevice> open_nccl_device(int index) {
  int count = 0;
  TRY_CUDA(cudaGetDeviceCount(&count));
  if (index < 0 || index >= count) {
    base::fail_user("CUDA device {} was asked for, but this process sees {} device(s).", index,
                    count);
  }
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(index));
  return std::make_shared<NcclDevice>(index);
}

namespace {

ncclDataType_t type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kHalf:
      return ncclFloat16;
    case at::kLong:
      return ncclInt64;
    case at::kInt:
      return ncclInt32;
    case at::kByte:
      return ncclUint8;
    default:
      throw base::Bug(
          fmt::format("NCCL cannot send tensors of type {}", at::toString(tensor.scalar_type())));
  }
}

size_t count_of(const at::Tensor& tensor) { return static_cast<size_t>(tensor.numel()); }

// A point in a stream.
class Event {
 public:
  Event() { TRY_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() {
    // Nothing can be done about a failure here, and the process is about to end after one.
    cudaEventDestroy(event_);
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const c10::cuda::CUDAStream& stream) {
    TRY_CUDA(cudaEventRecord(event_, stream.stream()));
  }
  void block(const c10::cuda::CUDAStream& stream) const {
    TRY_CUDA(cudaStreamWaitEvent(stream.stream(), event_, 0));
  }
  bool reached() const {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) return false;
    TRY_CUDA(code);
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Owner of a communicator. Aborts it when it ends with an error, so that no peer is waited for.
class Communicator {
 public:
  Communicator(int size, const ncclUniqueId& id, int rank) {
    TRY_NCCL(ncclCommInitRank(&handle_, size, id, rank));
  }
  // Collective over `parent`.
  Communicator(const Communicator& parent, int color, int key) {
    TRY_NCCL(ncclCommSplit(parent.handle_, color, key, &handle_, nullptr));
  }
  ~Communicator() {
    // What an error leaves under way would be waited for otherwise.
    if (failed_ || std::uncaught_exceptions() > 0) {
      ncclCommAbort(handle_);
    } else {
      ncclCommDestroy(handle_);
    }
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  ncclComm_t get() const { return handle_; }
  int rank() const {
    int rank = 0;
    TRY_NCCL(ncclCommUserRank(handle_, &rank));
    return rank;
  }
  int size() const {
    int size = 0;
    TRY_NCCL(ncclCommCount(handle_, &size));
    return size;
  }

  // SystemError when NCCL has met an error in the background (a lost peer, a network failure).
  void check() {
    ncclResult_t state = ncclSuccess;
    TRY_NCCL(ncclCommGetAsyncError(handle_, &state));
    if (state == ncclSuccess || state == ncclInProgress) return;
    failed_ = true;
    throw base::SystemError("NCCL", static_cast<long>(state), ncclGetLastError(handle_));
  }

 private:
  ncclComm_t handle_ = nullptr;
  bool failed_ = false;
};

// An operation on copies of host tensors: wait() waits for the device and brings the result back.
class StagedPending : public Work::Pending {
 public:
  StagedPending(std::unique_ptr<Work::Pending> operation, at::Tensor result, at::Tensor host)
      : operation_(std::move(operation)), result_(std::move(result)), host_(std::move(host)) {}

  void wait() override {
    operation_->wait();
    host_.copy_(result_);
  }
  bool test() override { return operation_->test(); }

 private:
  std::unique_ptr<Work::Pending> operation_;
  at::Tensor result_, host_;
};

// Keeps the tensors and the communicator alive until it has been waited for.
class NcclPending : public Work::Pending {
 public:
  NcclPending(std::shared_ptr<Communicator> communicator, c10::DeviceIndex device,
              std::array<at::Tensor, 2> tensors)
      : communicator_(std::move(communicator)), device_(device), tensors_(std::move(tensors)) {}

  void record(const c10::cuda::CUDAStream& stream) { done_.record(stream); }

  void wait() override {
    communicator_->check();
    const c10::cuda::CUDAGuard guard(device_);
    done_.block(c10::cuda::getCurrentCUDAStream(device_));
  }

  bool test() override {
    communicator_->check();
    return done_.reached();
  }

  Flight::End end() const override { return Flight::End::kOnDevice; }

 private:
  std::shared_ptr<Communicator> communicator_;
  c10::DeviceIndex device_;
  std::array<at::Tensor, 2> tensors_;
  Event done_;
};

class NcclGroup : public Group {
 public:
  NcclGroup(std::string name, std::shared_ptr<NcclDevice> device,
            std::shared_ptr<Communicator> communicator)
      : Group(std::move(name)),
        rank_(communicator->rank()),
        size_(communicator->size()),
        device_(std::move(device)),
        communicator_(std::move(communicator)) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "nccl"; }

  void poll() override { communicator_->check(); }

  void barrier() override {
    const at::Tensor token = at::zeros({1}, at::device(cuda()).dtype(at::kInt));
    all_sum(token, Purpose::kControl).wait();
    c10::cuda::getCurrentCUDAStream(device_->index()).synchronize();
    communicator_->check();
  }

 protected:
  std::unique_ptr<Group> start_split(const Call& /*call*/, std::string name, int color,
                                     int key) override {
    const c10::cuda::CUDAGuard guard(device_->index());
    auto part = std::make_shared<Communicator>(*communicator_, color, key);
    if (part->size() == 1) return make_self_group(std::move(name));
    return std::make_unique<NcclGroup>(std::move(name), device_, std::move(part));
  }

  Pending start_all_reduce(const Call& call, at::Tensor tensor) override {
    if (tensor.is_cpu()) {
      return staged(tensor, tensor.to(cuda()),
                    [&](at::Tensor there) { return start_all_reduce(call, std::move(there)); });
    }
    const bool maximum = call.operation == Operation::kAllMax;
    return launch(tensor, tensor, [&](cudaStream_t stream) {
      TRY_NCCL(ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), count_of(tensor),
                             type_of(tensor), maximum ? ncclMax : ncclSum, communicator_->get(),
                             stream));
    });
  }

  Pending start_sum_scatter(const Call& call, at::Tensor out, at::Tensor in) override {
    if (out.is_cpu()) {
      return staged(out, at::empty_like(out, cuda()), [&](at::Tensor there) {
        return start_sum_scatter(call, std::move(there), in.to(cuda()));
      });
    }
    return launch(out, in, [&](cudaStream_t stream) {
      TRY_NCCL(ncclReduceScatter(in.data_ptr(), out.data_ptr(), count_of(out), type_of(out),
                                 ncclSum, communicator_->get(), stream));
    });
  }

  Pending start_all_gather(const Call& call, at::Tensor out, at::Tensor in) override {
    if (out.is_cpu()) {
      return staged(out, at::empty_like(out, cuda()), [&](at::Tensor there) {
        return start_all_gather(call, std::move(there), in.to(cuda()));
      });
    }
    return launch(out, in, [&](cudaStream_t stream) {
      TRY_NCCL(ncclAllGather(in.data_ptr(), out.data_ptr(), count_of(in), type_of(in),
                             communicator_->get(), stream));
    });
  }

  Pending start_broadcast(const Call& call, at::Tensor tensor) override {
    if (tensor.is_cpu()) {
      return staged(tensor, tensor.to(cuda()),
                    [&](at::Tensor there) { return start_broadcast(call, std::move(there)); });
    }
    return launch(tensor, tensor, [&](cudaStream_t stream) {
      TRY_NCCL(ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), count_of(tensor),
                             type_of(tensor), call.root, communicator_->get(), stream));
    });
  }

  Pending start_all_to_all(const Call& call, at::Tensor out, at::Tensor in) override {
    if (out.is_cpu()) {
      return staged(out, at::empty_like(out, cuda()), [&](at::Tensor there) {
        return start_all_to_all(call, std::move(there), in.to(cuda()));
      });
    }
    const size_t count = count_of(in) / static_cast<size_t>(size_);
    const size_t bytes = count * static_cast<size_t>(in.element_size());
    return launch(out, in, [&](cudaStream_t stream) {
      auto* to = static_cast<std::byte*>(out.data_ptr());
      const auto* from = static_cast<const std::byte*>(in.data_ptr());
      TRY_NCCL(ncclGroupStart());
      for (int peer = 0; peer < size_; ++peer) {
        const size_t offset = static_cast<size_t>(peer) * bytes;
        TRY_NCCL(ncclSend(from + offset, count, type_of(in), peer, communicator_->get(), stream));
        TRY_NCCL(ncclRecv(to + offset, count, type_of(out), peer, communicator_->get(), stream));
      }
      TRY_NCCL(ncclGroupEnd());
    });
  }

 private:
  // start(there) on a device tensor that stands for `host`, which gets its values.
  template <class Start>
  static Pending staged(const at::Tensor& host, at::Tensor there, const Start& start) {
    Pending operation = start(there);
    return std::make_unique<StagedPending>(std::move(operation), std::move(there), host);
  }

  at::Device cuda() const { return {at::kCUDA, device_->index()}; }

  // Runs `operation` on the communication stream, after what the current stream holds.
  template <class Operation>
  Pending launch(const at::Tensor& out, const at::Tensor& in, const Operation& operation) {
    RONDO_CHECK(out.device() == cuda() && in.device() == cuda(),
                "tensors on {} and {} in an NCCL group of cuda:{}", out.device().str(),
                in.device().str(), static_cast<int>(device_->index()));
    const c10::cuda::CUDAGuard guard(device_->index());
    auto pending = std::make_unique<NcclPending>(communicator_, device_->index(),
                                                 std::array<at::Tensor, 2>{out, in});
    Event produced;
    produced.record(c10::cuda::getCurrentCUDAStream(device_->index()));
    produced.block(device_->stream());
    operation(device_->stream().stream());
    pending->record(device_->stream());
    return pending;
  }

  int rank_;
  int size_;
  std::shared_ptr<NcclDevice> device_;
  std::shared_ptr<Communicator> communicator_;
};

// The id as text, since Control speaks in words.
std::string to_hex(const ncclUniqueId& id) {
  std::string text;
  for (const char byte : id.internal) {
    text += fmt::format("{:02x}", static_cast<unsigned>(static_cast<unsigned char>(byte)));
  }
  return text;
}

ncclUniqueId from_hex(const std::string& text) {
  ncclUniqueId id;
  RONDO_CHECK(text.size() == 2 * sizeof(id.internal), "an NCCL id of {} digits", text.size());
  for (size_t i = 0; i < sizeof(id.internal); ++i) {
    const int value = std::stoi(text.substr(2 * i, 2), nullptr, 16);
    id.internal[i] = static_cast<char>(static_cast<unsigned char>(value));
  }
  return id;
}

}  // namespace

std::unique_ptr<Group> make_nccl_group(Control& control, std::shared_ptr<NcclDevice> device) {
  std::string text;
  control.on_first([&text] {
    ncclUniqueId id;
    TRY_NCCL(ncclGetUniqueId(&id));
    text = to_hex(id);
  });
  const ncclUniqueId id = from_hex(control.broadcast_text(text));
  const c10::cuda::CUDAGuard guard(device->index());
  std::shared_ptr<Communicator> communicator;
  control.agree(
      [&] { communicator = std::make_shared<Communicator>(control.size(), id, control.rank()); });
  return std::make_unique<NcclGroup>("world", std::move(device), std::move(communicator));
}

}  // namespace rondo::comm
