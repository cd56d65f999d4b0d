// SPDX-License-Identifier: Apache-2.0
#include "transfer/model_export.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/user_path.hpp"
#include "checkpoint/array_stream.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/io_thread.hpp"
#include "exchange/hugging_face_model.hpp"
#include "plan/model_exchange.hpp"
#include "run/weights_source.hpp"

namespace penstock {

namespace {

// How many blocks are on their way, of about how many bytes.
struct BlockSizes {
  std::int64_t bytes = std::int64_t{4} << 20;
  std::size_t count = blocks_of_a_stream;
};

// A block's rows become columns of a transposed tensor, which are short runs of the file, and pages that are written in
// parts: few large blocks cost less there.
constexpr BlockSizes sizes_of_transposed{std::int64_t{12} << 20, 2};

BlockSizes block_sizes(const std::vector<ExchangedParameter>& parameters) {
  for (const ExchangedParameter& parameter : parameters)
    for (const ExchangedPiece& piece : parameter.pieces)
      if (piece.transposed) return sizes_of_transposed;
  return {};
}

// Decisions of rank 0, the same everywhere.
struct ExportChoices {
  DType type = DType::float32;
  bool prefixed = true;
  std::string mark;  // of temporary names
};

// On rank 0: the files next to the weights, by name.
using TextFiles = std::vector<std::pair<std::string, std::string>>;

void refuse_a_full_folder(const std::filesystem::path& target) {
  constexpr std::string_view cure = "name a folder that is empty or not there yet";
  const std::filesystem::file_status status = status_of_path(target, cure);
  if (!std::filesystem::is_directory(status)) return;  // a path that is not a folder is refused when it is created
  std::error_code error;
  const std::filesystem::directory_iterator first(target, error);
  if (!error && first != std::filesystem::directory_iterator())
    throw_input_error("{}: is not empty (it has {}); {}", target.string(), first->path().filename().string(), cure);
}

DType type_to_write(const ExportRequest& request, const std::optional<HuggingFaceModel>& like, bool of_itself) {
  if (request.type) return *request.type;
  const bool half = of_itself && like && like->stored_type() == StoredType::bfloat16;
  return half ? DType::bfloat16 : DType::float32;
}

TextFiles text_files(const HuggingFaceConfig& config, DType type, const std::optional<HuggingFaceModel>& like) {
  if (!like) return {{"config.json", hugging_face_config_text(config, type)}};
  const ModelDirectory& directory = like->directory();
  TextFiles files{{"config.json",
                   hugging_face_config_like(directory.config_text(), directory.config_path().string(), config, type)}};
  for (const std::string& name : directory.files_to_carry_along())
    files.emplace_back(name, read_small_file(directory.path() / name, "leave it out of the directory"));
  return files;
}

// Reads blocks of parameters on the I/O thread; lives until its reads have ended.
class BlockReader {
 public:
  virtual ~BlockReader() = default;
  /// `values` must stay valid until the future is ready.
  virtual std::future<void> read(std::size_t parameter, const Box& block, float* values) = 0;
};

class DirectoryReader : public BlockReader {
 public:
  DirectoryReader(IoThread& io, const std::filesystem::path& path) : io_(io), model_(path) {}
  ~DirectoryReader() override {
    io_.run([] {}).wait();
  }  // after running reads
  DirectoryReader(const DirectoryReader&) = delete;
  DirectoryReader& operator=(const DirectoryReader&) = delete;
  std::future<void> read(std::size_t parameter, const Box& block, float* values) override {
    return io_.run([this, parameter, block, values] { model_.read_box(parameter, block, values); });
  }
  const HuggingFaceModel& model() const { return model_; }

 private:
  IoThread& io_;
  HuggingFaceModel model_;
};

class CheckpointReader : public BlockReader {
 public:
  CheckpointReader(World& world, IoThread& io, const std::filesystem::path& path,
                   const std::vector<ExchangedParameter>& parameters)
      : world_(world), io_(io), parameters_(parameters) {
    on_io_thread([this, path] { open(path); });
  }
  ~CheckpointReader() override {
    if (!io_.abandoned()) on_io_thread([this] { reader_.reset(); });
  }
  CheckpointReader(const CheckpointReader&) = delete;
  CheckpointReader& operator=(const CheckpointReader&) = delete;

  std::future<void> read(std::size_t parameter, const Box& block, float* values) override {
    return io_.run([this, parameter, block, values] { reader_->read(*arrays_[parameter], block, values); });
  }

 private:
  template <typename Function>
  void on_io_thread(Function function) {
    wait_for(world_, io_.run(std::move(function)), "a checkpoint");
  }

  void open(const std::filesystem::path& path) {
    auto reader = std::make_unique<ArrayReader>(path, std::vector<FileFormat>{checkpoint_format});
    for (const ExchangedParameter& parameter : parameters_) arrays_.push_back(&array_of(parameter, *reader));
    reader_ = std::move(reader);
  }

  static const ArrayInfo& array_of(const ExchangedParameter& parameter, const ArrayReader& reader) {
    const std::string path = path_of(State::parameters, parameter.name);
    const ArrayInfo* array = reader.contents().find(path);
    if (array == nullptr || array->shape != parameter.shape || array->type != DType::float32)
      throw_input_error("{}: its deck describes another model than it holds: {} {} {}; use another checkpoint",
                        reader.path().string(), path, parameter.shape.text(),
                        array == nullptr ? "is missing" : "is of another shape or type");
    return *array;
  }

  World& world_;
  IoThread& io_;
  const std::vector<ExchangedParameter>& parameters_;
  std::unique_ptr<ArrayReader> reader_;
  std::vector<const ArrayInfo*> arrays_;
};

struct ExportBlock {
  std::size_t parameter = 0;
  Box box;
};

// Dealt out in turn: parameters differ in size.
std::vector<ExportBlock> blocks_of_rank(const World& world, const HuggingFaceExport& to_write, std::int64_t bytes) {
  std::vector<ExportBlock> blocks;
  int next = 0;
  for (std::size_t p = 0; p < to_write.parameters().size(); ++p)
    for (const Box& box : row_blocks(ArrayInfo{{}, to_write.parameters()[p].shape, DType::float32, {}}, bytes)) {
      if (next == world.rank()) blocks.push_back({p, box});
      next = (next + 1) % world.size();
    }
  return blocks;
}

using BlockMemory = std::vector<std::unique_ptr<float[]>>;

void make_room(const std::vector<ExportBlock>& blocks, std::size_t count, BlockMemory& memory) {
  std::int64_t most = 0;
  memory.resize(count);
  for (const ExportBlock& block : blocks) most = std::max(most, block.box.elements());
  for (auto& values : memory) values = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(most));
}

// While one block is being written the next ones are read.
void write_blocks(World& world, BlockReader& reader, const HuggingFaceExport& to_write, SafetensorsWriter& writer,
                  BlockMemory& memory) {
  const BlockSizes sizes = block_sizes(to_write.parameters());
  const std::vector<ExportBlock> blocks = blocks_of_rank(world, to_write, sizes.bytes);
  make_room(blocks, sizes.count, memory);
  std::vector<std::future<void>> coming;
  const auto begin = [&] {
    const std::size_t i = coming.size();
    if (i < blocks.size())
      coming.push_back(reader.read(blocks[i].parameter, blocks[i].box, memory[i % memory.size()].get()));
  };
  for (std::size_t i = 0; i < memory.size(); ++i) begin();
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    wait_for(world, std::move(coming[i]), "a block of the weights");
    to_write.write_box(writer, blocks[i].parameter, blocks[i].box, memory[i % memory.size()].get());
    begin();
    world.moved();
  }
  writer.finish();
}

class Export {
 public:
  Export(World& world, const ExportRequest& request)
      : world_(world), request_(request), source_(find_weights(world, request.source)) {
    config_ = hugging_face_config_of(source_.model);
  }

  void run() {
    const auto start = Clock::now();
    choose();
    to_write_.emplace(config_, choices_.type, request_.shard_bytes, choices_.prefixed);
    const std::filesystem::path from = is_directory() ? source_.path : whole_checkpoint(world_, io_, source_).file;
    try {
      write(from);
    } catch (const CollectiveFailure&) {
      give_up();
      throw;
    }
    std::uint64_t bytes = 0;
    for (const SafetensorsShard& shard : to_write_->plan().shards()) bytes += shard.bytes;
    log_info("{}: {:.1f} MB in {}, from {} in {:.2f} s", request_.target.string(), static_cast<double>(bytes) * 1e-6,
             name_of(choices_.type), from.string(), seconds_since(start));
  }

 private:
  bool is_directory() const { return source_.kind == WeightsSource::Kind::directory; }

  void choose() {
    world_.together([&] {
      if (world_.rank() != 0) return;
      refuse_a_full_folder(request_.target);
      std::optional<HuggingFaceModel> like;
      if (request_.like || is_directory()) like.emplace(request_.like.value_or(source_.path));
      choices_.type = type_to_write(request_, like, !request_.like);
      choices_.prefixed = !like || like->prefixed();
      choices_.mark = fmt::format("{:08x}", std::random_device()());
      files_ = text_files(config_, choices_.type, like);
    });
    choices_.mark = world_.broadcast(choices_.mark);
    choices_.type = world_.broadcast(std::string(name_of(choices_.type))) == name_of(DType::bfloat16) ? DType::bfloat16
                                                                                                      : DType::float32;
    choices_.prefixed = world_.broadcast(choices_.prefixed ? "prefixed" : "plain") == "prefixed";
  }

  void write(const std::filesystem::path& from) {
    world_.together([&] {
      if (world_.rank() != 0) return;
      makes_folder_ = !std::filesystem::exists(status_of_path(request_.target, "name another folder"));
      has_begun_ = true;
      prepare_safetensors(request_.target, to_write_->plan(), choices_.mark);
    });
    std::unique_ptr<BlockReader> reader;
    world_.together([&] { reader = open(from); });
    world_.together([&] {
      SafetensorsWriter writer(request_.target, to_write_->plan(), choices_.mark);
      write_blocks(world_, *reader, *to_write_, writer, memory_);
    });
    world_.together([&] {
      if (world_.rank() == 0) publish_safetensors(request_.target, to_write_->plan(), choices_.mark, files_);
    });
  }

  std::unique_ptr<BlockReader> open(const std::filesystem::path& from) {
    if (!is_directory()) return std::make_unique<CheckpointReader>(world_, io_, from, to_write_->parameters());
    auto reader = std::make_unique<DirectoryReader>(io_, from);
    reader->model().check_tied_head(world_.rank(), world_.size());
    return reader;
  }

  void give_up() const {
    if (!has_begun_) return;
    discard_safetensors(request_.target, choices_.mark);
    std::error_code not_empty;
    if (makes_folder_) std::filesystem::remove(request_.target, not_empty);
  }

  World& world_;
  const ExportRequest& request_;
  WeightsSource source_;
  HuggingFaceConfig config_;
  ExportChoices choices_;
  TextFiles files_;  // rank 0
  std::optional<HuggingFaceExport> to_write_;
  bool has_begun_ = false, makes_folder_ = false;  // rank 0
  BlockMemory memory_;
  IoThread io_;  // the last: what it still reads goes into that memory
};

}  // namespace

void export_model(World& world, const ExportRequest& request) { Export(world, request).run(); }

}  // namespace penstock
