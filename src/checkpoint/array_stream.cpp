// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/array_stream.hpp"

#include <array>
#include <memory>

#include "checkpoint/array_reader.hpp"
#include "checkpoint/array_writer.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

namespace {

class Stream {
  template <typename Function>
  auto on_io_thread(Function function, std::string_view what) {
    return wait_for(world_, io_.run(std::move(function)), what);
  }

 public:
  Stream(World& world, IoThread& io, const StreamedFile& file)
      : world_(world), io_(io), file_(file), temporary_(temporary_name(file.path)) {}

  std::uint64_t run() {
    try {
      on_io_thread([this] { create(); }, "making a file");
      for (std::size_t a = 0; a < file_.arrays.size(); ++a) write(a);
      settle();
      const std::uint64_t bytes = on_io_thread([this] { return writer_->complete(); }, "finishing a file");
      publish(temporary_, file_.path);
      forget();
      return bytes;
    } catch (...) {
      give_up();
      throw;
    }
  }

 private:
  void create() {
    writer_ = std::make_unique<ArrayWriter>(temporary_);
    writer_->create(file_.attributes, file_.arrays);
  }

  // While one block is being written the next one is filled.
  void write(std::size_t index) {
    const ArraySpec& array = file_.arrays[index];
    for (const Box& block : row_blocks(ArrayInfo{array.path, array.shape, array.type, {}}, file_.block_bytes)) {
      std::vector<float>& values = blocks_[next_];
      next_ = 1 - next_;
      values.resize(static_cast<std::size_t>(block.elements()));
      file_.fill(index, block, values.data());
      world_.moved();
      settle();
      const Rows rows{block.offset[0], block.offset[0] + block.extent[0], 0};
      written_ = io_.run([this, &array, rows, from = reinterpret_cast<const std::byte*>(values.data())] {
        writer_->write(array, rows, from);
      });
    }
  }

  void settle() {
    if (written_.valid()) wait_for(world_, std::move(written_), "a block of a file being written");
  }

  void forget() {
    on_io_thread([this] { writer_.reset(); }, "letting go of a file");
  }

  // A block of our memory may be in flight to the disk.
  void give_up() {
    try {
      settle();
    } catch (const std::exception&) {  // the first failure is reported
    }
    forget();
    discard(temporary_);
  }

  World& world_;
  IoThread& io_;
  const StreamedFile& file_;
  std::filesystem::path temporary_;
  std::unique_ptr<ArrayWriter> writer_;  // on the I/O thread only
  std::array<std::vector<float>, 2> blocks_;
  std::size_t next_ = 0;
  std::future<void> written_;
};

}  // namespace

std::uint64_t stream_arrays(World& world, IoThread& io, const StreamedFile& file) {
  return Stream(world, io, file).run();
}

}  // namespace penstock
