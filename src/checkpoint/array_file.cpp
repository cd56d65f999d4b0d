// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/array_file.hpp"

#include <algorithm>
#include <array>
#include <future>
#include <memory>
#include <optional>

#include "base/clock.hpp"
#include "checkpoint/array_writer.hpp"
#include "checkpoint/parcel.hpp"
#include "storage/durable_file.hpp"
#include "storage/stripes.hpp"

namespace penstock {

namespace {

constexpr std::size_t buffers = 3;  // one is being filled, one has arrived, one is being written
constexpr std::uint64_t bytes_between_checks = std::uint64_t{1} << 30;

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

// What all ranks know of a save: whether it has failed, and why.
class Agreement {
 public:
  Agreement(World& world, Writers& writers) : world_(world), writers_(writers) {}

  bool failed() const { return failure_.has_value(); }
  std::string why() const { return failure_.value_or(""); }

  /// Collective: a phase of the save, which ranks leave together. Left out once something has failed.
  void phase(const std::function<void()>& action) {
    if (failed()) return;
    std::string mine;
    try {
      action();
    } catch (const std::exception& error) {
      mine = *error.what() ? error.what() : "failed";
    }
    reach(mine);
  }

  /// Collective: the first rank's trouble is everybody's.
  void reach(const std::string& mine) {
    if (world_.largest(mine.empty() ? 0 : 1, writers_.messages()) == 0) return;
    for (const std::string& message : world_.gather(mine, writers_.messages()))
      if (!failure_ && !message.empty()) failure_ = message;
  }

 private:
  World& world_;
  Writers& writers_;
  std::optional<std::string> failure_;
};

// One save, from the empty file to its name, in phases that all ranks take at the same turn:
//   create     the first writer makes the file under a temporary name, while the first pieces travel already
//   open       several writers open it
//   transfer   pieces travel to the writers, round by round, and are written
//   close      several writers close it
//   finish     the first writer completes and syncs the file, and gives it its name
// Where one has failed, those after it are left out, and the temporary file goes.
class Save {
 public:
  Save(World& world, Writers& writers, const ArrayFile& file)
      : world_(world),
        writers_(writers),
        file_(file),
        // The name holds host and process of rank 0.
        temporary_(world.broadcast(temporary_name(file.path).string(), 0, writers.messages())),
        rounds_(plan_rounds(file.arrays, writers.count(), file.round_bytes)),
        agreement_(world, writers) {}

  SaveOutcome run() {
    const auto start = Clock::now();
    const bool several = writers_.count() > 1;
    begin_to_create();
    if (several) agreement_.phase([&] { wait_for_file(); });
    if (several) agreement_.phase([&] { open_shared(); });
    if (!agreement_.failed()) transfer();
    if (several) agreement_.phase([&] { close_shared(); });
    agreement_.phase([&] { finish(); });
    if (agreement_.failed() && writers_.leads()) discard(temporary_);
    forget();
    const double seconds = seconds_since(start);
    const std::string bytes = world_.broadcast(std::to_string(bytes_), 0, writers_.messages());
    return {!agreement_.failed(), agreement_.why(), agreement_.failed() ? 0 : std::stoull(bytes), seconds};
  }

 private:
  template <typename Function>
  auto on_io_thread(Function function, std::string_view what) {
    return wait_for(world_, writers_.io().run(std::move(function)), what);
  }

  // Where one writes alone, nobody waits for the file before the first pieces travel. What fails here is told when all
  // agree next.
  void begin_to_create() {
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

  void wait_for_file() {
    settle(created_);
    throw_noted();
  }

  void open_shared() {
    if (!writers_.writes()) return;
    on_io_thread(
        [&] {
          if (!writer_) writer_ = std::make_unique<ArrayWriter>(temporary_);
          writer_->open_shared(writers_.among_writers(), writers_.hints());
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
    for (; posted < rounds_.size() && !agreement_.failed(); ++posted) {
      std::vector<MPI_Request> current = post(posted);
      if (posted > 0) land(posted - 1, previous);
      previous = std::move(current);
      since_check += rounds_[posted].all_bytes;
      if (since_check < bytes_between_checks) continue;
      agreement_.reach(problem_);  // stops early, and shows the others that this takes its time but goes on
      since_check = 0;
    }
    if (posted > 0) land(posted - 1, previous);
    settle(created_);
    for (Buffer& buffer : buffers_) settle(buffer.written);
    if (!agreement_.failed() && writers_.count() > 1)
      agreement_.reach(problem_);  // who writes alone says it when it should finish
  }

  const std::byte* own_rows(const WriteStep& step) const {
    return rows_in_own_memory(file_, step, world_.rank(), writers_.index());
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

  void receive(const Round& round, const Buffer& buffer, std::vector<MPI_Request>& requests) {
    std::vector<Parcel> from =
        parcels_to_receive(file_, round, {world_.rank(), writers_.index()}, world_.size(), buffer.bytes.get());
    for (std::size_t rank = 0; rank < from.size(); ++rank)
      if (!from[rank].empty())
        check_mpi(MPI_Irecv(MPI_BOTTOM, 1, from[rank].type(), static_cast<int>(rank), tag, writers_.messages(),
                            &requests.emplace_back()));
  }

  void send(const Round& round, std::vector<MPI_Request>& requests) {
    std::vector<Parcel> to = parcels_to_send(file_, round, {world_.rank(), writers_.index()}, writers_.count());
    for (int writer = 0; writer < writers_.count(); ++writer)
      if (Parcel& parcel = to[static_cast<std::size_t>(writer)]; !parcel.empty())
        check_mpi(MPI_Isend(MPI_BOTTOM, 1, parcel.type(), writers_.rank_of(writer), tag, writers_.messages(),
                            &requests.emplace_back()));
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

  void throw_noted() const {
    if (!problem_.empty()) throw SystemError(problem_);
  }

  void close_shared() {
    if (writers_.writes()) on_io_thread([&] { writer_->close_shared(); }, "closing a file");
  }

  void finish() {
    if (!writers_.leads()) return;
    throw_noted();
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
  Agreement agreement_;
  std::unique_ptr<ArrayWriter> writer_;  // on the I/O thread only
  std::future<void> created_;
  std::array<Buffer, buffers> buffers_;
  std::string problem_;  // of this rank's writing
  std::uint64_t bytes_ = 0;
};

}  // namespace

SaveOutcome save_arrays(World& world, Writers& writers, const ArrayFile& file) {
  return Save(world, writers, file).run();
}

}  // namespace penstock
