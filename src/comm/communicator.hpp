// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 3: messages between the ranks of a group. src/comm/mpi/ defines it with MPI on host memory, cuda/comm/ with
// NCCL. Every call is enqueued and returns an Event; its tensors belong to the call until the Event was waited for.
// Over MPI we compute sums across ranks ourselves: pieces are exchanged and added in coordinate order, so that neither
// the MPI library's choice of algorithm nor the placement on hosts can change a bit. With NCCL, NCCL adds.

#include <cstdint>
#include <memory>
#include <span>

#include "comm/world.hpp"
#include "device/queue.hpp"
#include "mesh/mesh.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock {

/// Something enqueued that ends later. A default Event is done.
struct Event {
  std::uint64_t ticket = 0;
};

/// One end of a message between two coordinates of a group. Messages of a pair with one tag arrive in the order they
/// were sent.
struct Message {
  enum class Way : std::uint8_t { send, receive };
  Way way = Way::send;
  TensorView tensor;
  int peer = 0;
  int tag = 0;
};

/// The ranks that differ from this one along a set of mesh axes (Mesh::group). Move-only.
class Communicator {
 public:
  /// Collective over the world: all ranks make the same communicators in the same order. Its messages follow what was
  /// enqueued on `queue` before them; the queue outlives it.
  Communicator(World& world, Queue& queue, const Mesh& mesh, const AxisSet& axes);
  /// Collective over this group: the smaller groups inside it, along a part of its axes.
  Communicator split(const Mesh& mesh, const AxisSet& axes) const;
  ~Communicator();
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;

  int size() const;
  int coordinate() const;

  /// all [size * n elements] = every rank's piece [n], in coordinate order. `piece` may be its own part of `all`.
  Event all_gather(TensorView piece, TensorView all);
  /// piece [n] = the sum over ranks of their `all` [size * n], part `coordinate`; float32 and bfloat16 are added in
  /// float32, float64 in float64; piece and all may differ in type. `piece` may be its own part of `all`.
  Event reduce_scatter(TensorView all, TensorView piece);
  /// tensor = the sum over ranks, the same bits on each.
  Event all_reduce(TensorView tensor);
  /// To and from one coordinate; messages of a pair with one tag arrive in the order they were sent.
  Event send(TensorView tensor, int to, int tag);
  Event receive(TensorView tensor, int from, int tag);
  /// Sends and receives at once: each proceeds whatever the others wait for. Sets `events`, one for each message, in
  /// their order. (Over NCCL one launch, and all end together; its messages have no tags: between two coordinates they
  /// arrive in the order given here and in earlier launches.)
  void transfer(std::span<const Message> messages, std::span<Event> events);
  /// Both at once with one peer, which does the same.
  Event exchange(TensorView outgoing, TensorView incoming, int peer, int tag);

  /// Work enqueued on the queue from here on comes after the event's work. (The CPU's queue runs at once: returns when
  /// the work has ended.)
  void wait(Event event);

  /// Collective over this group: connects to the coordinates before and after this one (in a ring), so that the first
  /// transfer does not have to.
  void connect_ring();

  /// Bytes this rank has sent so far.
  std::uint64_t bytes_sent() const;
  /// Bytes of scratch that a reduce_scatter or all_reduce of `all_bytes` takes in a group of `size`.
  static std::size_t scratch_bytes(std::size_t all_bytes, int size);
  /// Lends planned scratch, which must outlive all later calls. Without it, or with too little, it allocates its own.
  void use_scratch(TensorView memory);

 private:
  struct Backend;
  explicit Communicator(std::unique_ptr<Backend> backend);
  std::unique_ptr<Backend> backend_;
};

}  // namespace penstock
