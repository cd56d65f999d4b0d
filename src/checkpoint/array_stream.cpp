// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/array_stream.hpp"

#include <array>
#include <memory>

#include "checkpoint/array_reader.hpp"
#include "checkpoint/array_writer.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

namespace {

struct Block {
  std::unique_ptr<float[]> values;
  std::int64_t elements = 0;
  std::future<void> written;

  // Earlier contents are lost; nothing is cleared, because a block is filled completely.
  void make_room(std::int64_t more) {
    if (more <= elements) return;
    values.reset();
    values = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(more));
    elements = more;
  }
};

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

  // While some blocks are being written the next one is filled.
  void write(std::size_t index) {
    const ArraySpec& array = file_.arrays[index];
    for (const Box& box : row_blocks(ArrayInfo{array.path, array.shape, array.type, {}}, file_.block_bytes)) {
      Block& block = blocks_[next_];
      next_ = (next_ + 1) % blocks_.size();
      settle(block);
      block.make_room(box.elements());
      file_.fill(index, box, block.values.get());
      world_.moved();
      const Rows rows{box.offset[0], box.offset[0] + box.extent[0], 0};
      block.written = io_.run([this, &array, rows, from = reinterpret_cast<const std::byte*>(block.values.get())] {
        writer_->write(array, rows, from);
      });
    }
  }

  void settle(Block& block) {
    if (block.written.valid()) wait_for(world_, std::move(block.written), "a block of a file being written");
  }

  void settle() {
    for (Block& block : blocks_) settle(block);
  }

  void forget() {
    on_io_thread([this] { writer_.reset(); }, "letting go of a file");
  }

  // Blocks may be on their way to the disk, from memory of ours.
  void give_up() {
    for (Block& block : blocks_) try {
        settle(block);
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
  std::array<Block, blocks_of_a_stream> blocks_;
  std::size_t next_ = 0;
};

}  // namespace

std::uint64_t stream_arrays(World& world, IoThread& io, const StreamedFile& file) {
  return Stream(world, io, file).run();
}

}  // namespace penstock
