// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/array_file.hpp"

#include <algorithm>
#include <array>
#include <future>
#include <memory>
#include <optional>

#include "base/clock.hpp"
#include "checkpoint/array_writer.hpp"
#include "storage/durable_file.hpp"
#include "storage/stripes.hpp"

namespace penstock {

namespace {

constexpr std::size_t buffers = 3;  // one is being filled, one has arrived, one is being written
constexpr std::uint64_t bytes_between_checks = std::uint64_t{1} << 30;

MPI_Datatype message_type(DType type) { return type == DType::float32 ? MPI_FLOAT : MPI_INT32_T; }

// The place of a part among the rows that a writer takes.
MPI_Datatype type_in_rows(const ArraySpec& array, const Rows& rows, const Box& part) {
  std::array<int, Shape::most_dimensions> whole{}, extent{}, begin{};
  for (int d = 0; d < array.shape.dimensions(); ++d) {
    const auto i = static_cast<std::size_t>(d);
    whole[i] = static_cast<int>(d == 0 ? rows.end - rows.begin : array.shape[d]);
    extent[i] = static_cast<int>(part.extent[d]);
    begin[i] = static_cast<int>(part.offset[i] - (d == 0 ? rows.begin : 0));
  }
  MPI_Datatype type = MPI_DATATYPE_NULL;
  check_mpi(MPI_Type_create_subarray(array.shape.dimensions(), whole.data(), extent.data(), begin.data(), MPI_ORDER_C,
                                     message_type(array.type), &type));
  return type;
}

// All data from one rank to one writer in a round, as one message: MPI gathers the pieces here and puts them in place
// there. One message for each piece of an array would be hundreds for a file of a few MiB.
class Parcel {
 public:
  Parcel() = default;
  ~Parcel() {
    for (MPI_Datatype& type : made_) MPI_Type_free(&type);  // MPI keeps types in use
  }
  Parcel(Parcel&&) = default;
  Parcel& operator=(Parcel&&) = default;

  void add_dense(const std::byte* first, DType type, std::int64_t elements) {
    add(first, message_type(type), static_cast<int>(elements));
  }
  void add_in_rows(const std::byte* rows_begin, const ArraySpec& array, const Rows& rows, const Box& part) {
    add(rows_begin, made_.emplace_back(type_in_rows(array, rows, part)), 1);
  }
  bool empty() const { return counts_.empty(); }

  /// For sending from, or receiving at, MPI_BOTTOM.
  MPI_Datatype type() {
    MPI_Datatype& whole = made_.emplace_back(MPI_DATATYPE_NULL);
    check_mpi(MPI_Type_create_struct(static_cast<int>(counts_.size()), counts_.data(), places_.data(), types_.data(),
                                     &whole));
    check_mpi(MPI_Type_commit(&whole));
    return whole;
  }

 private:
  void add(const std::byte* first, MPI_Datatype type, int count) {
    check_mpi(MPI_Get_address(first, &places_.emplace_back()));
    types_.push_back(type);
    counts_.push_back(count);
  }

  std::vector<int> counts_;
  std::vector<MPI_Aint> places_;
  std::vector<MPI_Datatype> types_, made_;
};

struct Buffer {
  std::unique_ptr<std::byte[]> bytes;
  std::size_t size = 0;
  std::future<void> written;

  // Earlier contents are lost; nothing is cleared, because pieces fill everything.
  void make_room(std::size_t more) {
    if (more <= size) return;
    bytes = std::make_unique_for_overwrite<std::byte[]>(more);
    size = more;
  }
};

// One save, from the empty file to its name. Stages end in an agreement, so that all ranks take the same path.
class Save {
 public:
  Save(World& world, Writers& writers, const ArrayFile& file)
      : world_(world), writers_(writers), file_(file), temporary_(temporary_name(file.path)) {
    const std::string leaders =
        world.broadcast(temporary_.string(), 0, writers.messages());  // the name holds host and process of rank 0
    temporary_ = leaders;
    rounds_ = plan_rounds(file.arrays, writers.count(), file.round_bytes);
  }

  SaveOutcome run() {
    const auto start = Clock::now();
    begin();
    if (writers_.count() > 1) {
      settle(created_);
      agree(problem_);
      stage([&] { open_together(); });
    }
    if (!failure_) transfer();
    if (writers_.count() > 1) stage([&] { close_together(); });
    stage([&] { finish(); });
    if (failure_ && writers_.leads()) discard(temporary_);
    forget();
    const double seconds = seconds_since(start);
    const std::string bytes = world_.broadcast(std::to_string(bytes_), 0, writers_.messages());
    return {!failure_, failure_.value_or(""), failure_ ? 0 : std::stoull(bytes), seconds};
  }

 private:
  void stage(const std::function<void()>& action) {
    if (failure_) return;
    std::string mine;
    try {
      action();
    } catch (const std::exception& error) {
      mine = *error.what() ? error.what() : "failed";
    }
    agree(mine);
  }

  void agree(const std::string& mine) {
    if (world_.largest(mine.empty() ? 0 : 1, writers_.messages()) == 0) return;
    for (const std::string& message : world_.gather(mine, writers_.messages()))
      if (!failure_ && !message.empty()) failure_ = message;
  }

  template <typename Function>
  auto on_io_thread(Function function, std::string_view what) {
    return wait_for(world_, writers_.io().run(std::move(function)), what);
  }

  // If one rank writes alone, it creates the file while the first pieces travel. An error here is reported at the next
  // agreement.
  void begin() {
    if (!writers_.leads()) return;
    try {
      if (file_.ensure_mine) file_.ensure_mine();
      created_ = writers_.io().run([this] { create(); });
    } catch (const std::exception& error) {
      note(error);
    }
  }

  void create() {
    make_striped(temporary_, writers_.stripes());
    auto writer = std::make_unique<ArrayWriter>(temporary_);
    if (writers_.count() == 1 && rounds_.size() == 1)
      writer->create_in_memory(file_.attributes, file_.arrays);
    else
      writer->create(file_.attributes, file_.arrays);
    if (writers_.count() > 1) writer->hand_over();
    writer_ = std::move(writer);
  }

  void open_together() {
    if (!writers_.writes()) return;
    on_io_thread(
        [&] {
          if (!writer_) writer_ = std::make_unique<ArrayWriter>(temporary_);
          writer_->open_together(writers_.together(), writers_.hints());
        },
        "opening a file");
  }

  // While round r is in flight, round r - 1 arrives and is passed to the I/O thread, and earlier ones are being
  // written. A rank waits only for rounds that all ranks have posted before they wait for anything later, so the waits
  // cannot form a cycle.
  void transfer() {
    try {
      transfer_rounds();
    } catch (const std::exception& error) {
      world_.abort(error.what());  // receives into our buffers are in flight: nobody may unwind past them
    }
  }

  void transfer_rounds() {
    std::uint64_t since_check = 0;
    std::vector<MPI_Request> previous;
    std::size_t posted = 0;
    for (; posted < rounds_.size() && !failure_; ++posted) {
      std::vector<MPI_Request> current = post(posted);
      if (posted > 0) land(posted - 1, previous);
      previous = std::move(current);
      since_check += rounds_[posted].all_bytes;
      if (since_check < bytes_between_checks) continue;
      agree(problem_);  // stops early, and shows the others that this is slow but makes progress
      since_check = 0;
    }
    if (posted > 0) land(posted - 1, previous);
    settle(created_);
    for (Buffer& buffer : buffers_) settle(buffer.written);
    if (!failure_ && writers_.count() > 1) agree(problem_);  // a rank that writes alone reports it at the end
  }

  bool needs_buffer(std::size_t round) const {
    const auto comes = [this](const WriteStep& step) {
      return !step.of_writer[static_cast<std::size_t>(writers_.index())].empty() && !own_rows(step);
    };
    return std::any_of(rounds_[round].steps.begin(), rounds_[round].steps.end(), comes);
  }

  std::vector<MPI_Request> post(std::size_t round) {
    std::vector<MPI_Request> requests;
    if (writers_.writes()) {
      Buffer& buffer = buffers_[round % buffers];
      settle(buffer.written);
      if (needs_buffer(round)) buffer.make_room(rounds_[round].bytes[static_cast<std::size_t>(writers_.index())]);
      receive(rounds_[round], buffer, requests);
    }
    send(rounds_[round], requests);
    return requests;
  }

  // If this writer's rows of the step are dense in its own memory, they are written from there.
  const std::byte* own_rows(const WriteStep& step) const {
    const ArraySpec& array = file_.arrays[step.array];
    const Rows& rows = step.of_writer[static_cast<std::size_t>(writers_.index())];
    const std::int64_t row_elements = array.shape.elements() / array.shape[0];
    for (std::size_t p = 0; p < array.pieces.size(); ++p) {
      if (array.pieces[p].rank != world_.rank()) continue;
      const Box part = part_in_rows(array.pieces[p].box, rows);
      if (part.elements() == (rows.end - rows.begin) * row_elements)
        return file_.local_data(step.array, p) + static_cast<std::size_t>(part.local_begin) * bytes_of(array.type);
    }
    return nullptr;
  }

  void receive(const Round& round, Buffer& buffer, std::vector<MPI_Request>& requests) {
    std::vector<Parcel> from(static_cast<std::size_t>(world_.size()));
    for (const WriteStep& step : round.steps) {
      const Rows& rows = step.of_writer[static_cast<std::size_t>(writers_.index())];
      if (!rows.empty() && !own_rows(step)) expect(file_.arrays[step.array], rows, buffer.bytes.get(), from);
    }
    for (std::size_t rank = 0; rank < from.size(); ++rank)
      if (!from[rank].empty())
        check_mpi(MPI_Irecv(MPI_BOTTOM, 1, from[rank].type(), static_cast<int>(rank), tag, writers_.messages(),
                            &requests.emplace_back()));
  }

  void expect(const ArraySpec& array, const Rows& rows, const std::byte* buffer, std::vector<Parcel>& from) const {
    const std::int64_t row_elements = array.shape.elements() / array.shape[0];
    for (const Piece& piece : array.pieces) {
      const Box part = part_in_rows(piece.box, rows);
      Parcel& parcel = from[static_cast<std::size_t>(piece.rank)];
      if (part.elements() == 0) continue;
      if (part.elements() == part.extent[0] * row_elements) {
        const std::int64_t before = (part.offset[0] - rows.begin) * row_elements;
        parcel.add_dense(buffer + rows.offset + static_cast<std::size_t>(before) * bytes_of(array.type), array.type,
                         part.elements());
      } else {
        parcel.add_in_rows(buffer + rows.offset, array, rows, part);
      }
    }
  }

  void send(const Round& round, std::vector<MPI_Request>& requests) {
    std::vector<Parcel> to(static_cast<std::size_t>(writers_.count()));
    for (const WriteStep& step : round.steps) pack(step, to);
    for (int writer = 0; writer < writers_.count(); ++writer)
      if (Parcel& parcel = to[static_cast<std::size_t>(writer)]; !parcel.empty())
        check_mpi(MPI_Isend(MPI_BOTTOM, 1, parcel.type(), writers_.rank_of(writer), tag, writers_.messages(),
                            &requests.emplace_back()));
  }

  void pack(const WriteStep& step, std::vector<Parcel>& to) const {
    const ArraySpec& array = file_.arrays[step.array];
    const bool writes_own = writers_.writes() && own_rows(step);
    for (std::size_t p = 0; p < array.pieces.size(); ++p) {
      if (array.pieces[p].rank != world_.rank()) continue;
      for (int writer = 0; writer < writers_.count(); ++writer)
        if (!(writes_own && writer == writers_.index()))
          add_part(step, p, writer, to[static_cast<std::size_t>(writer)]);
    }
  }

  void add_part(const WriteStep& step, std::size_t piece, int writer, Parcel& parcel) const {
    const ArraySpec& array = file_.arrays[step.array];
    const Box part = part_in_rows(array.pieces[piece].box, step.of_writer[static_cast<std::size_t>(writer)]);
    if (part.elements() == 0) return;
    const std::byte* first = file_.local_data(step.array, piece);
    parcel.add_dense(first + static_cast<std::size_t>(part.local_begin) * bytes_of(array.type), array.type,
                     part.elements());
  }

  void land(std::size_t round, std::vector<MPI_Request>& requests) {
    world_.wait(requests, "pieces of " + file_.path.filename().string());
    if (file_.progress) file_.progress->advance(rounds_[round].all_bytes);
    if (!writers_.writes()) return;
    Buffer& buffer = buffers_[round % buffers];
    buffer.written =
        writers_.io().run([this, &steps = rounds_[round].steps, first = buffer.bytes.get()] { write(steps, first); });
  }

  // On the I/O thread. Several writers stay in step even if one has failed; otherwise the others would wait in MPI
  // forever.
  void write(const std::vector<WriteStep>& steps, const std::byte* first) {
    if (!writer_) return;  // the file could not be created
    std::optional<std::string> problem;
    for (const WriteStep& step : steps) {
      const Rows& rows = step.of_writer[static_cast<std::size_t>(writers_.index())];
      const std::byte* own = rows.empty() ? nullptr : own_rows(step);
      try {
        writer_->write(file_.arrays[step.array], rows, own || rows.empty() ? own : first + rows.offset);
      } catch (const std::exception& error) {
        if (writers_.count() == 1) throw;
        if (!problem) problem = error.what();
      }
    }
    if (problem) throw SystemError(*problem);
  }

  void settle(std::future<void>& job) {
    if (!job.valid()) return;
    try {
      wait_for(world_, std::move(job), "a part of a file being written");
    } catch (const std::exception& error) {
      note(error);
    }
  }

  void note(const std::exception& error) {
    if (problem_.empty()) problem_ = *error.what() ? error.what() : "failed";
  }

  void close_together() {
    if (writers_.writes()) on_io_thread([&] { writer_->close_together(); }, "closing a file");
  }

  void finish() {
    if (!writers_.leads()) return;
    if (!problem_.empty()) throw SystemError(problem_);
    std::future<std::uint64_t> completed = writers_.io().run([this] { return writer_->complete(); });
    if (file_.sync_others) file_.sync_others();  // while the file itself is being synced
    bytes_ = wait_for(world_, std::move(completed), "finishing a file");
    if (file_.ensure_mine) file_.ensure_mine();
    publish(temporary_, file_.path);
  }

  // Remaining HDF5 ids are released on the thread that made them.
  void forget() {
    if (writers_.writes() && !writers_.io().abandoned()) on_io_thread([&] { writer_.reset(); }, "letting go of a file");
  }

  static constexpr int tag = 1;

  World& world_;
  Writers& writers_;
  const ArrayFile& file_;
  std::filesystem::path temporary_;
  std::vector<Round> rounds_;
  std::unique_ptr<ArrayWriter> writer_;  // on the I/O thread only
  std::future<void> created_;
  std::array<Buffer, buffers> buffers_;
  std::string problem_;                 // from this rank's writing
  std::optional<std::string> failure_;  // the same on all ranks
  std::uint64_t bytes_ = 0;
};

}  // namespace

SaveOutcome save_arrays(World& world, Writers& writers, const ArrayFile& file) {
  return Save(world, writers, file).run();
}

}  // namespace penstock
