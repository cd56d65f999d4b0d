// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>

#include "base/fault.hpp"
#include "comm/mpi/transfer_progress.hpp"
#include "device/memory.hpp"

namespace penstock {

// Calls inside a step take no memory: lists keep their capacity.
struct Communicator::Backend {
  /// Sends and receives that are waited for together.
  struct Posted {
    struct End {
      bool receives;
      int peer;  ///< coordinate
      std::size_t bytes;
    };
    std::uint64_t ticket = 0;  ///< of the Event of an open transfer; 0: its place is free
    std::vector<MPI_Request> requests;
    std::vector<End> ends;

    MPI_Request& add(const End& end) {
      ends.push_back(end);
      return requests.emplace_back(MPI_REQUEST_NULL);
    }
    void clear() {
      ticket = 0;
      requests.clear();
      ends.clear();
    }
  };

  World* world = nullptr;
  MPI_Comm handle = MPI_COMM_NULL;
  std::string name;
  std::vector<int> ranks;  ///< of the world, by coordinate
  int size = 1;
  int coordinate = 0;
  bool spans_nodes = false;
  std::optional<TransferProgress> progress;  ///< from the first transfer on, if the group spans nodes
  std::uint64_t bytes_sent = 0;
  std::uint64_t next_ticket = 1;
  std::vector<Posted> transfers;        ///< the open ones, and free places of earlier ones
  Posted collective;                    ///< while it runs
  std::vector<const std::byte*> parts;  ///< added by a collective, in coordinate order
  std::span<std::byte> scratch;
  DeviceMemory own_scratch;  ///< if none was lent, or too little

  // Collective over `parent`.
  static std::unique_ptr<Backend> make(World& world, MPI_Comm parent, const Mesh& mesh, const AxisSet& axes);

  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  ~Backend() {
    progress.reset();
    if (handle != MPI_COMM_NULL) MPI_Comm_free(&handle);
  }

  std::byte* scratch_of(std::size_t bytes) {
    if (scratch.size() < bytes) {
      own_scratch = DeviceMemory(bytes);
      scratch = {own_scratch.data(), bytes};
    }
    return scratch.data();
  }
  void wait(Posted& posted, std::string_view what) {
    const auto words = [this, &posted, what] { return awaited(posted, what); };
    world->wait(posted.requests, std::ref(words));  // by reference: a wait takes no memory
    posted.clear();
  }
  Posted* find(std::uint64_t ticket);
  Posted& open_transfer();
  void finish_transfer(Posted& transfer);
  // MPI counts in int, so long messages are sent in slices, which keep their order.
  void post_send(Posted& posted, const void* data, std::size_t bytes, int to, int tag);
  void post_receive(Posted& posted, void* data, std::size_t bytes, int from, int tag);
  Awaited awaited(const Posted& posted, std::string_view what) const;
};

namespace {

constexpr std::size_t longest_message = std::size_t{1} << 30;
// Tags of send and receive come after those of collectives, because a transfer may be in flight during a collective.
constexpr int collective_tag = 0;
constexpr int first_transfer_tag = 1;

template <typename Sum, typename In, typename Out>
void add_in_order(std::span<const std::byte* const> parts, std::byte* out, std::int64_t n) {
  const auto in = [&](std::size_t part) { return reinterpret_cast<const In*>(parts[part]); };
  auto* to = reinterpret_cast<Out*>(out);
  // Blocks small enough for the first-level cache: each is summed over all parts before the next.
  constexpr std::int64_t block = 1024;
#pragma omp parallel for schedule(static) if (n > 65536)
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t end = std::min(n, begin + block);
    Sum sum[block];
    for (std::int64_t i = begin; i < end; ++i) sum[i - begin] = static_cast<Sum>(in(0)[i]);
    for (std::size_t p = 1; p < parts.size(); ++p)
      for (std::int64_t i = begin; i < end; ++i) sum[i - begin] += static_cast<Sum>(in(p)[i]);
    for (std::int64_t i = begin; i < end; ++i) to[i] = static_cast<Out>(sum[i - begin]);
  }
}

// The only place where numbers of several ranks are added. Parts are in coordinate order; `out` may be one of them.
void add_in_order(std::span<const std::byte* const> parts, DType in, std::byte* out, DType to, std::int64_t n) {
  if (in == DType::float32 && to == DType::float32) return add_in_order<float, float, float>(parts, out, n);
  if (in == DType::float32 && to == DType::bfloat16) return add_in_order<float, float, bfloat16>(parts, out, n);
  if (in == DType::bfloat16 && to == DType::bfloat16) return add_in_order<float, bfloat16, bfloat16>(parts, out, n);
  if (in == DType::bfloat16 && to == DType::float32) return add_in_order<float, bfloat16, float>(parts, out, n);
  if (in == DType::float64 && to == DType::float64) return add_in_order<double, double, double>(parts, out, n);
  throw LogicError(fmt::format("no sum across ranks from {} to {}", name_of(in), name_of(to)));
}

}  // namespace

Communicator::Backend::Posted* Communicator::Backend::find(std::uint64_t ticket) {
  const auto found =
      std::find_if(transfers.begin(), transfers.end(), [&](const Posted& t) { return t.ticket == ticket; });
  return found == transfers.end() ? nullptr : &*found;
}

Communicator::Backend::Posted& Communicator::Backend::open_transfer() {
  Posted* place = find(0);
  if (!place) place = &transfers.emplace_back();
  place->ticket = next_ticket++;
  if (spans_nodes && !progress) progress.emplace();
  if (progress) progress->opened();
  return *place;
}

void Communicator::Backend::finish_transfer(Posted& transfer) {
  if (progress) progress->set_waiting(true);
  wait(transfer, "a transfer");
  if (!progress) return;
  progress->set_waiting(false);
  progress->closed();
}

// Names the messages that are still open. (On the stack, because long waits inside steps call it.)
Awaited Communicator::Backend::awaited(const Posted& posted, std::string_view what) const {
  constexpr int most_named = 3;
  fmt::basic_memory_buffer<char, 512> text;
  const auto add = [&]<typename... Values>(fmt::format_string<Values...> words, Values&&... values) {
    fmt::format_to(std::back_inserter(text), words, std::forward<Values>(values)...);
  };
  add("{} in the {} group of {} ranks: ", what, name, size);
  int named = 0;
  for (std::size_t i = 0; i < posted.ends.size(); ++i) {
    int done = 0;
    MPI_Request_get_status(posted.requests[i], &done, MPI_STATUS_IGNORE);
    if (done || ++named > most_named) continue;
    const auto& [receives, peer, bytes] = posted.ends[i];
    add("{}{} bytes {} rank {}", named > 1 ? ", " : "", bytes, receives ? "from" : "to",
        ranks[static_cast<std::size_t>(peer)]);
  }
  if (named > most_named) add(" and {} more", named - most_named);
  return Awaited(std::string_view(text.data(), text.size()));
}

void Communicator::Backend::post_send(Posted& posted, const void* data, std::size_t bytes, int to, int tag) {
  for (std::size_t at = 0; at < bytes; at += longest_message) {
    const std::size_t length = std::min(longest_message, bytes - at);
    MPI_Request& request = posted.add({.receives = false, .peer = to, .bytes = length});
    check_mpi(MPI_Isend(static_cast<const std::byte*>(data) + at, static_cast<int>(length), MPI_BYTE, to, tag, handle,
                        &request));
  }
  bytes_sent += bytes;
}

void Communicator::Backend::post_receive(Posted& posted, void* data, std::size_t bytes, int from, int tag) {
  for (std::size_t at = 0; at < bytes; at += longest_message) {
    const std::size_t length = std::min(longest_message, bytes - at);
    MPI_Request& request = posted.add({.receives = true, .peer = from, .bytes = length});
    check_mpi(
        MPI_Irecv(static_cast<std::byte*>(data) + at, static_cast<int>(length), MPI_BYTE, from, tag, handle, &request));
  }
}

std::unique_ptr<Communicator::Backend> Communicator::Backend::make(World& world, MPI_Comm parent, const Mesh& mesh,
                                                                   const AxisSet& axes) {
  auto made = std::make_unique<Backend>();
  const std::vector<int>& ranks = made->ranks = mesh.group(world.rank(), axes);
  made->world = &world;
  made->size = static_cast<int>(ranks.size());
  made->coordinate = static_cast<int>(std::find(ranks.begin(), ranks.end(), world.rank()) - ranks.begin());
  made->name = fmt::format("{}", fmt::join(mesh.spanned(axes), "-"));
  made->spans_nodes = std::any_of(ranks.begin(), ranks.end(), [&](int r) { return world.node_of(r) != world.node(); });
  check_mpi(MPI_Comm_split(parent, ranks.front(), made->coordinate, &made->handle));
  MPI_Comm_set_errhandler(made->handle, MPI_ERRORS_RETURN);
  return made;
}

Communicator::Communicator(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

Communicator::Communicator(World& world, Queue&, const Mesh& mesh, const AxisSet& axes)
    : backend_(Backend::make(world, world.handle(), mesh, axes)) {}

Communicator Communicator::split(const Mesh& mesh, const AxisSet& axes) const {
  return Communicator(Backend::make(*backend_->world, backend_->handle, mesh, axes));
}

void Communicator::connect_ring() {}  // MPI connects by itself

Communicator::~Communicator() = default;
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;

int Communicator::size() const { return backend_->size; }
int Communicator::coordinate() const { return backend_->coordinate; }
std::uint64_t Communicator::bytes_sent() const { return backend_->bytes_sent; }

std::size_t Communicator::scratch_bytes(std::size_t all_bytes, int size) {
  return size == 1 ? 0
                   : all_bytes + static_cast<std::size_t>(size) *
                                     8;  // a sum in pieces rounds up by at most one element for each rank
}

void Communicator::use_scratch(TensorView memory) {
  backend_->scratch = {static_cast<std::byte*>(memory.raw()), memory.bytes()};
  backend_->own_scratch = {};
}

Event Communicator::all_gather(TensorView piece, TensorView all) {
  Backend& b = *backend_;
  const std::size_t bytes = piece.bytes();
  ensure(all.bytes() == bytes * static_cast<std::size_t>(b.size) && all.type() == piece.type(),
         "all_gather: `all` is not `size` pieces");
  auto* to = static_cast<std::byte*>(all.raw());
  std::byte* own = to + bytes * static_cast<std::size_t>(b.coordinate);
  if (own != piece.raw()) std::memmove(own, piece.raw(), bytes);
  if (b.size == 1) return {};
  for (int step = 1; step < b.size; ++step) {
    const int from = (b.coordinate + b.size - step) % b.size;
    b.post_receive(b.collective, to + bytes * static_cast<std::size_t>(from), bytes, from, collective_tag);
  }
  for (int step = 1; step < b.size; ++step)
    b.post_send(b.collective, own, bytes, (b.coordinate + step) % b.size, collective_tag);
  b.wait(b.collective, "an all-gather");
  return {};
}

Event Communicator::reduce_scatter(TensorView all, TensorView piece) {
  Backend& b = *backend_;
  const auto size = static_cast<std::size_t>(b.size);
  ensure(all.elements() == piece.elements() * b.size, "reduce_scatter: `all` is not `size` pieces");
  const std::size_t bytes = all.bytes() / size;
  auto* from = static_cast<std::byte*>(all.raw());
  std::byte* scratch = b.size > 1 ? b.scratch_of(all.bytes()) : nullptr;
  b.parts.resize(size);
  for (std::size_t c = 0; c < size; ++c) {
    const bool own = c == static_cast<std::size_t>(b.coordinate);
    b.parts[c] = own ? from + c * bytes : scratch + c * bytes;
    if (!own) b.post_receive(b.collective, scratch + c * bytes, bytes, static_cast<int>(c), collective_tag);
  }
  for (int step = 1; step < b.size; ++step) {
    const int to = (b.coordinate + step) % b.size;
    b.post_send(b.collective, from + static_cast<std::size_t>(to) * bytes, bytes, to, collective_tag);
  }
  b.wait(b.collective, "a reduce-scatter");
  if (b.size == 1 && b.parts[0] == piece.raw() && all.type() == piece.type()) return {};
  add_in_order(b.parts, all.type(), static_cast<std::byte*>(piece.raw()), piece.type(), piece.elements());
  return {};
}

Event Communicator::all_reduce(TensorView tensor) {
  Backend& b = *backend_;
  if (b.size == 1) return {};
  const std::size_t width = bytes_of(tensor.type());
  const auto size = static_cast<std::size_t>(b.size);
  const std::int64_t slice = (tensor.elements() + b.size - 1) / b.size;
  auto* data = static_cast<std::byte*>(tensor.raw());
  const auto begin = [&](int c) { return std::min(tensor.elements(), slice * c); };
  const auto count = [&](int c) { return begin(c + 1) - begin(c); };
  const auto bytes = [&](std::int64_t elements) { return static_cast<std::size_t>(elements) * width; };

  // Each rank adds its slice of all tensors, in coordinate order, then sends the sum to the others.
  const std::int64_t own = count(b.coordinate);
  std::byte* scratch = b.scratch_of(bytes(slice) * size);
  b.parts.resize(size);
  for (int c = 0; c < b.size; ++c) {
    const bool mine = c == b.coordinate;
    std::byte* landing = scratch + static_cast<std::size_t>(c) * bytes(slice);
    b.parts[static_cast<std::size_t>(c)] = mine ? data + bytes(begin(c)) : landing;
    if (!mine) b.post_receive(b.collective, landing, bytes(own), c, collective_tag);
  }
  for (int step = 1; step < b.size; ++step) {
    const int to = (b.coordinate + step) % b.size;
    b.post_send(b.collective, data + bytes(begin(to)), bytes(count(to)), to, collective_tag);
  }
  b.wait(b.collective, "the first half of an all-reduce");
  add_in_order(b.parts, tensor.type(), data + bytes(begin(b.coordinate)), tensor.type(), own);
  for (int step = 1; step < b.size; ++step) {
    const int from = (b.coordinate + b.size - step) % b.size;
    b.post_receive(b.collective, data + bytes(begin(from)), bytes(count(from)), from, collective_tag);
  }
  for (int step = 1; step < b.size; ++step)
    b.post_send(b.collective, data + bytes(begin(b.coordinate)), bytes(own), (b.coordinate + step) % b.size,
                collective_tag);
  b.wait(b.collective, "the second half of an all-reduce");
  return {};
}

Event Communicator::send(TensorView tensor, int to, int tag) {
  Backend::Posted& transfer = backend_->open_transfer();
  backend_->post_send(transfer, tensor.raw(), tensor.bytes(), to, first_transfer_tag + tag);
  return {transfer.ticket};
}

Event Communicator::receive(TensorView tensor, int from, int tag) {
  Backend::Posted& transfer = backend_->open_transfer();
  const int shift = planted(Fault::wrong_tag) ? 0 : first_transfer_tag;
  backend_->post_receive(transfer, tensor.raw(), tensor.bytes(), from, shift + tag);
  return {transfer.ticket};
}

void Communicator::transfer(std::span<const Message> messages, std::span<Event> events) {
  // Receives first, so that arriving data has a place.
  for (const Message::Way way : {Message::Way::receive, Message::Way::send})
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const auto& [its_way, tensor, peer, tag] = messages[i];
      if (its_way == way) events[i] = way == Message::Way::send ? send(tensor, peer, tag) : receive(tensor, peer, tag);
    }
}

Event Communicator::exchange(TensorView outgoing, TensorView incoming, int peer, int tag) {
  Backend::Posted& transfer = backend_->open_transfer();
  backend_->post_receive(transfer, incoming.raw(), incoming.bytes(), peer, first_transfer_tag + tag);
  backend_->post_send(transfer, outgoing.raw(), outgoing.bytes(), peer, first_transfer_tag + tag);
  return {transfer.ticket};
}

void Communicator::wait(Event event) {
  Backend::Posted* transfer = event.ticket == 0 ? nullptr : backend_->find(event.ticket);
  if (transfer) backend_->finish_transfer(*transfer);
}

}  // namespace penstock
