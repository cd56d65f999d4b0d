#include "comm/communicator.hpp"

#include <nccl.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "device/backend.hpp"

namespace penstock {

namespace {

void check_nccl(ncclResult_t code, std::source_location where = std::source_location::current()) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  throw SystemError(fmt::format("{}:{}: NCCL: {} ({}); NCCL_DEBUG=WARN in the environment tells more",
                                where.file_name(), where.line(), ncclGetErrorString(code), ncclGetLastError(nullptr)));
}

ncclDataType_t nccl_type(DType type) {
  switch (type) {
    case DType::float32:
      return ncclFloat32;
    case DType::bfloat16:
      return ncclBfloat16;
    case DType::float64:
      return ncclFloat64;
    case DType::int32:
      return ncclInt32;
    case DType::uint8:
      return ncclUint8;
  }
  throw LogicError("NCCL knows no such type");
}

}  // namespace

// One communication lane: a stream of its own. What is launched on it follows what the queue was given before, in the
// order in which the host launches it, which is the order of the schedule's row.
struct Communicator::Backend {
  World* world = nullptr;
  Queue* queue = nullptr;
  ncclComm_t nccl = nullptr;  ///< none in a group of one
  cudaStream_t lane = nullptr;
  cudaEvent_t ready = nullptr;  ///< recorded on the queue before each launch
  std::string name;
  int size = 1;
  int coordinate = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t next_ticket = 1;
  std::map<std::uint64_t, cudaEvent_t> open;  ///< events that nobody has waited for yet
  std::vector<cudaEvent_t> spare;

  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  ~Backend() {
    if (nccl) ncclCommAbort(nccl);  // all work has ended, or the job is ending
    for (const auto& [ticket, event] : open) cudaEventDestroy(event);
    for (cudaEvent_t event : spare) cudaEventDestroy(event);
    if (ready) cudaEventDestroy(ready);
    if (lane) cudaStreamDestroy(lane);
  }

  // The communicator does not block: a call may go on in the background, and the next one has to wait for it.
  void finish_call(ncclResult_t code, std::string_view what) {
    check_nccl(code);
    if (code != ncclInProgress) return;
    world->wait_until(
        [this] {
          ncclResult_t state = ncclSuccess;
          check_nccl(ncclCommGetAsyncError(nccl, &state));
          check_nccl(state);
          return state == ncclSuccess;
        },
        fmt::format("NCCL to start {} in the {} group ({} ranks)", what, name, size));
  }

  // Throws when NCCL failed in the background.
  void check_background() const {
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(nccl, &state));
    check_nccl(state);
  }

  cudaEvent_t take_event() {
    if (spare.empty()) {
      cudaEvent_t event = nullptr;
      check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
      return event;
    }
    cudaEvent_t event = spare.back();
    spare.pop_back();
    return event;
  }

  template <typename Call>
  Event launch(std::string_view what, Call&& call) {
    check_cuda(cudaEventRecord(ready, stream_of(*queue)));
    check_cuda(cudaStreamWaitEvent(lane, ready));
    finish_call(call(), what);
    cudaEvent_t event = take_event();
    check_cuda(cudaEventRecord(event, lane));
    open.emplace(next_ticket, event);
    return {next_ticket++};
  }

  ncclResult_t group(auto&&... calls) {
    check_nccl(ncclGroupStart());
    for (const ncclResult_t code : {calls()...}) check_nccl(code);
    return ncclGroupEnd();
  }
};

Communicator::Communicator(World& world, Queue& queue, const Mesh& mesh, const std::vector<std::string>& axes)
    : backend_(std::make_unique<Backend>()) {
  Backend& b = *backend_;
  const std::vector<int> ranks = mesh.group(world.rank(), axes);
  b.world = &world;
  b.queue = &queue;
  b.size = static_cast<int>(ranks.size());
  b.coordinate = static_cast<int>(std::find(ranks.begin(), ranks.end(), world.rank()) - ranks.begin());
  for (const std::string& axis : axes) b.name += (b.name.empty() ? "" : "-") + axis;

  // The group's first rank makes the id that its NCCL ranks find each other by; all ranks' ids travel at once.
  ncclUniqueId id{};
  if (b.size > 1 && b.coordinate == 0) check_nccl(ncclGetUniqueId(&id));
  const std::vector<std::string> ids = world.gather(std::string(id.internal, sizeof id.internal));
  if (b.size == 1) return;
  std::memcpy(id.internal, ids[static_cast<std::size_t>(ranks.front())].data(), sizeof id.internal);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  b.finish_call(ncclCommInitRankConfig(&b.nccl, b.size, id, b.coordinate, &config), "a communicator");
  check_cuda(cudaStreamCreateWithFlags(&b.lane, cudaStreamNonBlocking));
  check_cuda(cudaEventCreateWithFlags(&b.ready, cudaEventDisableTiming));
  queue.backend().watchers.push_back([backend = backend_.get()] { backend->check_background(); });
}

Communicator::~Communicator() = default;
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;

int Communicator::size() const { return backend_->size; }
int Communicator::coordinate() const { return backend_->coordinate; }
std::uint64_t Communicator::bytes_sent() const { return backend_->bytes_sent; }
std::size_t Communicator::scratch_bytes(std::size_t, int) { return 0; }  // NCCL's own buffers are outside the plan

Event Communicator::all_gather(TensorView piece, TensorView all) {
  Backend& b = *backend_;
  ensure(all.bytes() == piece.bytes() * static_cast<std::size_t>(b.size) && all.type() == piece.type(),
         "all_gather: `all` is not `size` pieces");
  if (b.size == 1) {
    if (all.raw() != piece.raw())
      check_cuda(cudaMemcpyAsync(all.raw(), piece.raw(), piece.bytes(), cudaMemcpyDeviceToDevice, stream_of(*b.queue)));
    return {};
  }
  b.bytes_sent += piece.bytes() * static_cast<std::size_t>(b.size - 1);
  return b.launch("an all-gather", [&] {
    return ncclAllGather(piece.raw(), all.raw(), static_cast<std::size_t>(piece.elements()), nccl_type(piece.type()),
                         b.nccl, b.lane);
  });
}

Event Communicator::reduce_scatter(TensorView all, TensorView piece) {
  Backend& b = *backend_;
  ensure(all.elements() == piece.elements() * b.size, "reduce_scatter: `all` is not `size` pieces");
  ensure(all.type() == piece.type(), "reduce_scatter: NCCL adds in one type");
  if (b.size == 1) {
    if (all.raw() != piece.raw())
      check_cuda(cudaMemcpyAsync(piece.raw(), all.raw(), piece.bytes(), cudaMemcpyDeviceToDevice, stream_of(*b.queue)));
    return {};
  }
  b.bytes_sent += piece.bytes() * static_cast<std::size_t>(b.size - 1);
  return b.launch("a reduce-scatter", [&] {
    return ncclReduceScatter(all.raw(), piece.raw(), static_cast<std::size_t>(piece.elements()),
                             nccl_type(piece.type()), ncclSum, b.nccl, b.lane);
  });
}

Event Communicator::all_reduce(TensorView tensor) {
  Backend& b = *backend_;
  if (b.size == 1) return {};
  b.bytes_sent += 2 * tensor.bytes() * static_cast<std::size_t>(b.size - 1) / static_cast<std::size_t>(b.size);
  return b.launch("an all-reduce", [&] {
    return ncclAllReduce(tensor.raw(), tensor.raw(), static_cast<std::size_t>(tensor.elements()),
                         nccl_type(tensor.type()), ncclSum, b.nccl, b.lane);
  });
}

// NCCL knows no tags: messages of a pair arrive in the order of the schedule's row, which the validated table has in
// the same order on both sides.
Event Communicator::send(TensorView tensor, int to, int) {
  Backend& b = *backend_;
  b.bytes_sent += tensor.bytes();
  return b.launch("a send", [&] { return ncclSend(tensor.raw(), tensor.bytes(), ncclUint8, to, b.nccl, b.lane); });
}

Event Communicator::receive(TensorView tensor, int from, int) {
  Backend& b = *backend_;
  return b.launch("a receive", [&] { return ncclRecv(tensor.raw(), tensor.bytes(), ncclUint8, from, b.nccl, b.lane); });
}

Event Communicator::exchange(TensorView outgoing, TensorView incoming, int peer, int) {
  Backend& b = *backend_;
  b.bytes_sent += outgoing.bytes();
  return b.launch("an exchange", [&] {
    return b.group([&] { return ncclSend(outgoing.raw(), outgoing.bytes(), ncclUint8, peer, b.nccl, b.lane); },
                   [&] { return ncclRecv(incoming.raw(), incoming.bytes(), ncclUint8, peer, b.nccl, b.lane); });
  });
}

void Communicator::wait(Event event) {
  const auto found = backend_->open.find(event.ticket);
  if (found == backend_->open.end()) return;
  check_cuda(cudaStreamWaitEvent(stream_of(*backend_->queue), found->second));
  backend_->spare.push_back(found->second);
  backend_->open.erase(found);
}

void Communicator::drain(std::string_view what) {
  Queue& queue = *backend_->queue;
  backend_->world->wait_until(
      [&] {
        for (const auto& watcher : queue.backend().watchers) watcher();
        const cudaError_t code = cudaStreamQuery(stream_of(queue));
        if (code == cudaErrorNotReady) return false;
        check_cuda(code);
        return true;
      },
      what);
}

}  // namespace penstock
