// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.hpp"

#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <thread>
#include <utility>

#include "device/backend.hpp"
#include "tensor/arena.hpp"

namespace penstock {

namespace {

// The library at run time may differ from the one at compile time.
void refuse_old_library() {
  constexpr int oldest = 21800;  // ncclCommSplit of non-blocking communicators
  int version = 0;
  ncclGetVersion(&version);
  if (version < oldest)
    throw_input_error(
        "the NCCL library found at run time is version {}.{}.{}; Penstock needs 2.18 or newer: put a newer "
        "libnccl.so.2 "
        "into LD_LIBRARY_PATH",
        version / 10000, version % 10000 / 100, version % 100);
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

// One communication lane: a stream of its own. Its work follows earlier work of the queue, in the order in which the
// host launches it, which is the order of the schedule's row.
struct Communicator::Backend {
  World* world = nullptr;
  Queue* queue = nullptr;
  ncclComm_t nccl = nullptr;  ///< none in a group of one
  cudaStream_t lane = nullptr;
  cudaEvent_t ready = nullptr;  ///< recorded on the queue before each launch
  std::string name;
  std::vector<int> ranks;  ///< of the world, by coordinate
  int size = 1;
  int coordinate = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t next_ticket = 1;
  std::map<std::uint64_t, cudaEvent_t> open;  ///< events that nobody has waited for yet
  std::vector<cudaEvent_t> spare;

  Backend(World& its_world, Queue& its_queue, const Mesh& mesh, const AxisSet& axes)
      : world(&its_world), queue(&its_queue), ranks(mesh.group(its_world.rank(), axes)) {
    size = static_cast<int>(ranks.size());
    coordinate = static_cast<int>(std::find(ranks.begin(), ranks.end(), world->rank()) - ranks.begin());
    for (const std::string& axis : mesh.spanned(axes)) name += (name.empty() ? "" : "-") + axis;
  }
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  ~Backend() {
    queue->backend().watchers.erase(this);
    close();
    for (const auto& [ticket, event] : open) cudaEventDestroy(event);
    for (cudaEvent_t event : spare) cudaEventDestroy(event);
    if (ready) cudaEventDestroy(ready);
    if (lane) cudaStreamDestroy(lane);
  }

  // Destroying a NCCL communicator is collective. If that fails (a rank is gone), the communicator is aborted; while an
  // error unwinds, at once.
  void close() noexcept {
    if (!nccl) return;
    if (std::uncaught_exceptions() > 0) {
      ncclCommAbort(nccl);
      return;
    }
    constexpr auto patience = std::chrono::seconds(5);
    const auto give_up = std::chrono::steady_clock::now() + patience;
    ncclResult_t state = ncclCommFinalize(nccl);
    while (state == ncclInProgress && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::yield();
      if (ncclCommGetAsyncError(nccl, &state) != ncclSuccess) break;
    }
    if (state == ncclSuccess)
      ncclCommDestroy(nccl);
    else
      ncclCommAbort(nccl);
    nccl = nullptr;
  }

  std::string text() const {
    constexpr std::size_t most_named = 16;
    std::string named;
    for (std::size_t i = 0; i < std::min(ranks.size(), most_named); ++i)
      named += (i ? ", " : "") + std::to_string(ranks[i]);
    return fmt::format("the {} group (ranks {}{})", name, named, ranks.size() > most_named ? ", ..." : "");
  }

  void check(ncclResult_t code) const {
    if (code == ncclSuccess || code == ncclInProgress) return;
    throw SystemError(fmt::format("NCCL: {} ({}) in {}; NCCL_DEBUG=WARN in the environment tells more",
                                  ncclGetErrorString(code), ncclGetLastError(nccl), text()));
  }

  // Throws if NCCL failed in the background.
  ncclResult_t state() const {
    ncclResult_t now = ncclSuccess;
    check(ncclCommGetAsyncError(nccl, &now));
    check(now);
    return now;
  }

  // The communicator is non-blocking: a call may continue in the background, and the next one must wait for it.
  void finish_call(ncclResult_t code, std::string_view what) {
    check(code);
    if (code != ncclInProgress) return;
    world->wait_until([this] { return state() == ncclSuccess; }, fmt::format("NCCL to start {} in {}", what, text()));
  }

  // Once `nccl` exists: its stream and events.
  void open_lane() {
    check_cuda(cudaStreamCreateWithFlags(&lane, cudaStreamNonBlocking));
    check_cuda(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming));
    queue->backend().watchers[this] = [this] { state(); };
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
    check(ncclGroupStart());
    for (const ncclResult_t code : {calls()...}) check(code);
    return ncclGroupEnd();
  }
};

Communicator::Communicator(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

Communicator::Communicator(World& world, Queue& queue, const Mesh& mesh, const AxisSet& axes)
    : backend_(std::make_unique<Backend>(world, queue, mesh, axes)) {
  Backend& b = *backend_;
  world.together(refuse_old_library);
  // Connects the collectives here, not at their first use inside a step.
  setenv("NCCL_RUNTIME_CONNECT", "0", 0);

  // The group's first rank makes the id by which its NCCL ranks find each other; the ids of all groups are exchanged at
  // once.
  ncclUniqueId id{};
  if (b.size > 1 && b.coordinate == 0) b.check(ncclGetUniqueId(&id));
  const std::vector<std::string> ids = world.gather(std::string(id.internal, sizeof id.internal));
  if (b.size == 1) return;
  std::memcpy(id.internal, ids[static_cast<std::size_t>(b.ranks.front())].data(), sizeof id.internal);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  b.finish_call(ncclCommInitRankConfig(&b.nccl, b.size, id, b.coordinate, &config), "a communicator");
  b.open_lane();
}

Communicator Communicator::split(const Mesh& mesh, const AxisSet& axes) const {
  const Backend& parent = *backend_;
  auto made = std::make_unique<Backend>(*parent.world, *parent.queue, mesh, axes);
  if (made->size > 1) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    backend_->check(ncclCommSplit(parent.nccl, made->ranks.front(), made->coordinate, &made->nccl, &config));
    // NCCL writes the handle in the background; before that there is no state to query.
    parent.world->wait_until(
        [&] { return parent.state() == ncclSuccess && std::atomic_ref(made->nccl).load() != nullptr; },
        "NCCL to split " + parent.text());
    made->finish_call(ncclInProgress, "a communicator");
    made->open_lane();
  }
  return Communicator(std::move(made));
}

void Communicator::connect_ring() {
  Backend& b = *backend_;
  if (b.size == 1) return;
  const Tensor token(DType::uint8, {2});
  const int after = (b.coordinate + 1) % b.size, before = (b.coordinate + b.size - 1) % b.size;
  const TensorView out = token.view().range(0, 1), in = token.view().range(1, 1);
  // Once around in each direction, because transfers between neighbours go both ways.
  for (const auto& [to, from] : {std::pair(after, before), std::pair(before, after)})
    wait(b.launch("the first messages", [&] {
      return b.group([&] { return ncclSend(out.raw(), 1, ncclUint8, to, b.nccl, b.lane); },
                     [&] { return ncclRecv(in.raw(), 1, ncclUint8, from, b.nccl, b.lane); });
    }));
  b.queue->drain("the first messages in " + b.text());
}

Communicator::~Communicator() = default;
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;

int Communicator::size() const { return backend_->size; }
int Communicator::coordinate() const { return backend_->coordinate; }
std::uint64_t Communicator::bytes_sent() const { return backend_->bytes_sent; }
std::size_t Communicator::scratch_bytes(std::size_t, int) { return 0; }  // NCCL's own buffers are outside the plan

void Communicator::use_scratch(TensorView) {}

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

// NCCL has no tags: messages of a pair arrive in the order of the schedule's row; `validate` has checked that it is the
// same on both sides.
Event Communicator::send(TensorView tensor, int to, int) {
  Backend& b = *backend_;
  b.bytes_sent += tensor.bytes();
  return b.launch("a send", [&] { return ncclSend(tensor.raw(), tensor.bytes(), ncclUint8, to, b.nccl, b.lane); });
}

Event Communicator::receive(TensorView tensor, int from, int) {
  Backend& b = *backend_;
  return b.launch("a receive", [&] { return ncclRecv(tensor.raw(), tensor.bytes(), ncclUint8, from, b.nccl, b.lane); });
}

void Communicator::transfer(std::span<const Message> messages, std::span<Event> events) {
  Backend& b = *backend_;
  for (const Message& m : messages)
    if (m.way == Message::Way::send) b.bytes_sent += m.tensor.bytes();
  const Event all = b.launch("transfers", [&] {
    b.check(ncclGroupStart());
    for (const Message& m : messages)
      b.check(m.way == Message::Way::send
                  ? ncclSend(m.tensor.raw(), m.tensor.bytes(), ncclUint8, m.peer, b.nccl, b.lane)
                  : ncclRecv(m.tensor.raw(), m.tensor.bytes(), ncclUint8, m.peer, b.nccl, b.lane));
    return ncclGroupEnd();
  });
  std::fill(events.begin(), events.end(), all);  // a wait for one of them waits for all
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

}  // namespace penstock
