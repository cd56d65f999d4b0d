// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint.hpp"

#include <algorithm>
#include <set>
#include <span>

namespace penstock {

namespace {

// An attribute that only files without moments have.
constexpr const char *holds = "holds", *parameters_only = "parameters";

std::string_view group_of(State state) {
  switch (state) {
    case State::parameters:
      return "/parameters/";
    case State::first_moment:
      return "/optimizer/first_moment/";
    case State::second_moment:
      return "/optimizer/second_moment/";
  }
  return "/";
}

// The counted boxes of all ranks, parameter by parameter, with their index in their rank's list of owned boxes.
struct CountedBox {
  int rank;
  std::size_t owned;
};

std::vector<std::vector<CountedBox>> counted_boxes(std::size_t parameters,
                                                   const std::vector<ParameterLayout>& layouts) {
  std::vector<std::vector<CountedBox>> boxes(parameters);
  for (std::size_t rank = 0; rank < layouts.size(); ++rank)
    for (std::size_t i = 0; i < layouts[rank].owned().size(); ++i)
      if (layouts[rank].owned()[i].counted)
        boxes[layouts[rank].owned()[i].parameter].push_back({static_cast<int>(rank), i});
  return boxes;
}

std::span<const State> states_of(const CheckpointMeta& meta) {
  return std::span(states).first(meta.has_moments ? std::size(states) : 1);
}

// A file of another program can have a correct digest.
template <typename T>
void ensure_stated(const std::filesystem::path& path, const FileContents& contents, std::string_view name) {
  const Attribute* attribute = contents.attribute(name);
  if (!attribute || !std::holds_alternative<T>(attribute->value))
    throw_input_error("{}: says that it is a checkpoint, and has no attribute {}; use another one", path.string(),
                      name);
}

// Empty if a file of an earlier version does not have it.
std::string optional_text(const FileContents& contents, std::string_view name) {
  const Attribute* attribute = contents.attribute(name);
  const auto* text = attribute ? std::get_if<std::string>(&attribute->value) : nullptr;
  return text ? *text : "";
}

// Throws on all ranks if any rank has a reason.
void refuse_what_cannot_be_opened(World& world, const std::string& reason_of_mine) {
  for (const std::string& reason : world.gather(reason_of_mine))
    if (!reason.empty()) throw CollectiveCannotOpen({2, reason});
}

// Runs a reading job on every rank, and agrees on the outcome. If one rank sees damage and another could not open the
// file at all, the latter counts.
template <typename Function>
auto read_together(World& world, IoThread& io, const std::filesystem::path& path, double quiet_seconds, Function read) {
  std::invoke_result_t<Function&, Progress&> result{};
  std::string not_opened;
  try {
    world.together([&] {
      try {
        result = run_reading(io, path, wait_under(world, "reading " + path.string()), std::move(read), quiet_seconds);
      } catch (const CannotOpen& reason) {
        not_opened = reason.what();
        throw;
      }
    });
  } catch (const CollectiveFailure&) {
    refuse_what_cannot_be_opened(world, not_opened);
    throw;
  }
  return result;
}

}  // namespace

std::string path_of(State state, const std::string& parameter) { return std::string(group_of(state)) + parameter; }

std::string checkpoint_name(std::int64_t step) { return fmt::format("step-{:08d}.h5", step); }

StateMemory memory_of(const ParameterSet& parameters) {
  return [&parameters](State state, const OwnedBox& owned) {
    switch (state) {
      case State::parameters:
        return parameters.master(owned);
      case State::first_moment:
        return parameters.first_moment(owned);
      case State::second_moment:
        break;
    }
    return parameters.second_moment(owned);
  };
}

StateSource staged_of(const ParameterSet& parameters) {
  return [&parameters](State state, const OwnedBox& owned) {
    switch (state) {
      case State::parameters:
        return parameters.staged_master(owned);
      case State::first_moment:
        return parameters.staged_first_moment(owned);
      case State::second_moment:
        break;
    }
    return parameters.staged_second_moment(owned);
  };
}

std::vector<ArraySpec> checkpoint_arrays(const std::vector<ParameterSpec>& specs,
                                         const std::vector<ParameterLayout>& layouts) {
  const auto boxes = counted_boxes(specs.size(), layouts);
  std::vector<ArraySpec> arrays;
  for (const State state : states)
    for (std::size_t p = 0; p < specs.size(); ++p) {
      ArraySpec array{path_of(state, specs[p].name), specs[p].shape, DType::float32, {}, {}};
      for (const CountedBox& counted : boxes[p])
        array.pieces.push_back(
            {counted.rank, layouts[static_cast<std::size_t>(counted.rank)].owned()[counted.owned].box});
      arrays.push_back(std::move(array));
    }
  return arrays;
}

SaveOutcome save_checkpoint(World& world, Writers& writers, const std::filesystem::path& folder,
                            const CheckpointMeta& meta, const std::vector<ParameterSpec>& specs,
                            const std::vector<ParameterLayout>& layouts, const StateSource& memory,
                            const SaveOptions& options) {
  ensure(layouts.size() == static_cast<std::size_t>(world.size()), "save_checkpoint: a layout for every rank");
  ensure(meta.has_moments, "save_checkpoint: it writes moments");
  const auto boxes = counted_boxes(specs.size(), layouts);
  const ParameterLayout& mine = layouts[static_cast<std::size_t>(world.rank())];
  ArrayFile file;
  file.path = folder / checkpoint_name(meta.step);
  file.attributes = checkpoint_attributes(meta);
  file.arrays = checkpoint_arrays(specs, layouts);
  file.local_data = [&](std::size_t array, std::size_t piece) {
    const OwnedBox& owned = mine.owned()[boxes[array % specs.size()][piece].owned];
    return reinterpret_cast<const std::byte*>(memory(states[array / specs.size()], owned));
  };
  file.ensure_mine = options.ensure_mine;
  file.sync_others = options.sync_others;
  file.round_bytes = options.round_bytes;
  file.progress = options.progress;
  return save_arrays(world, writers, file);
}

std::vector<Attribute> checkpoint_attributes(const CheckpointMeta& meta) {
  std::vector<Attribute> attributes = format_attributes(checkpoint_format);
  attributes.push_back({"step", meta.step});
  attributes.push_back({"samples", meta.samples});
  attributes.push_back({"seed", meta.seed});
  attributes.push_back({"deck", meta.deck});
  if (!meta.data.empty()) attributes.push_back({"data", meta.data});
  if (!meta.products.empty()) attributes.push_back({"products", meta.products});
  if (!meta.has_moments) attributes.push_back({holds, std::string(parameters_only)});
  return attributes;
}

CheckpointInfo info_of(const ArrayReader& reader) {
  const FileContents& contents = reader.contents();
  for (const char* name : {"step", "samples", "seed"}) ensure_stated<std::int64_t>(reader.path(), contents, name);
  ensure_stated<std::string>(reader.path(), contents, "deck");
  CheckpointInfo info;
  info.format = text_attribute(contents, "format");
  info.format_version = integer_attribute(contents, "format_version");
  info.meta = {integer_attribute(contents, "step"), integer_attribute(contents, "samples"),
               integer_attribute(contents, "seed"), text_attribute(contents, "deck")};
  info.meta.data = optional_text(contents, "data");
  info.meta.products = optional_text(contents, "products");
  info.meta.has_moments = optional_text(contents, holds) != parameters_only;
  info.complete = true;  // otherwise the reader would not have opened it
  info.datasets = contents.arrays;
  info.file_bytes = reader.file_bytes();
  return info;
}

void ensure_same_model(const std::filesystem::path& path, const CheckpointInfo& info,
                       const std::vector<ParameterSpec>& specs) {
  constexpr std::string_view cure =
      "use the deck that this checkpoint was written with (`penstock checkpoint show` prints it)";
  std::set<std::string> wanted;
  for (const State state : states_of(info.meta))
    for (const ParameterSpec& spec : specs) {
      const std::string name = *wanted.insert(path_of(state, spec.name)).first;
      const auto found =
          std::find_if(info.datasets.begin(), info.datasets.end(), [&](const ArrayInfo& a) { return a.path == name; });
      if (found == info.datasets.end())
        throw_input_error("{}: holds another model: {} {} is missing in the file; {}", path.string(), name,
                          spec.shape.text(), cure);
      if (found->shape != spec.shape || found->type != DType::float32)
        throw_input_error("{}: holds another model: {} is {} {} in the file, {} {} in the deck's model; {}",
                          path.string(), name, name_of(found->type), found->shape.text(), name_of(DType::float32),
                          spec.shape.text(), cure);
    }
  for (const ArrayInfo& array : info.datasets)
    if (!wanted.contains(array.path))
      throw_input_error("{}: holds another model: {} {} is in the file, and not in the deck's model; {}", path.string(),
                        array.path, array.shape.text(), cure);
}

CheckpointInfo verify_checkpoint(World& world, IoThread& io, const std::filesystem::path& path, double quiet_seconds) {
  return read_together(world, io, path, quiet_seconds,
                       [path, rank = world.rank(), ranks = world.size()](Progress& progress) {
                         ArrayReader reader(path, {checkpoint_format});
                         verify_share(reader, rank, ranks, progress);
                         return info_of(reader);
                       });
}

CheckpointInfo load_checkpoint(World& world, IoThread& io, const std::filesystem::path& path,
                               const std::vector<ParameterSpec>& specs, const ParameterLayout& layout,
                               const StateMemory& memory, const LoadOptions& options) {
  const auto look = [path](Progress&) { return info_of(ArrayReader(path, {checkpoint_format})); };
  const CheckpointInfo info = options.verified ? read_together(world, io, path, options.quiet_seconds, look)
                                               : verify_checkpoint(world, io, path, options.quiet_seconds);
  world.together([&] { ensure_same_model(path, info, specs); });

  const bool moments = info.meta.has_moments && !options.parameters_only;
  std::vector<BoxRequest> requests;
  for (const State state : states)
    for (const OwnedBox& owned : layout.owned()) {
      if (state == State::parameters || moments)
        requests.push_back({path_of(state, specs[owned.parameter].name), owned.box, memory(state, owned)});
      else
        std::fill_n(memory(state, owned), owned.box.elements(), 0.0F);
    }
  read_together(world, io, path, options.quiet_seconds, [path, requests](Progress& progress) {
    ArrayReader reader(path, {checkpoint_format});
    read_boxes(reader, requests, progress);
    return true;
  });
  return info;
}

}  // namespace penstock
