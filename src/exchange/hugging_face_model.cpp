// SPDX-License-Identifier: Apache-2.0
#include "exchange/hugging_face_model.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.hpp"
#include "config/mistakes.hpp"
#include "exchange/box_pieces.hpp"
#include "exchange/family_rules.hpp"
#include "exchange/name_table.hpp"

namespace penstock {
namespace {

/// Lines of one kind: the first ones, and the number of the others.
class LinesOfAKind {
 public:
  void add(std::string line) {
    if (++count_ <= shown_) lines_.push_back(std::move(line));
  }
  void report(Mistakes& mistakes, std::string_view kind) const {
    for (const std::string& line : lines_) mistakes.add("{}", line);
    if (count_ > shown_) mistakes.add("... and {} more tensors {}", count_ - shown_, kind);
  }

 private:
  static constexpr std::size_t shown_ = 20;
  std::size_t count_ = 0;
  std::vector<std::string> lines_;
};

bool is_ignored(const FamilyRules& rules, std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  return name.starts_with(rules.blocks) && std::any_of(rules.ignored_ends.begin(), rules.ignored_ends.end(),
                                                       [&](std::string_view end) { return name.ends_with(end); });
}

}  // namespace

HuggingFaceModel::HuggingFaceModel(std::filesystem::path path)
    : directory_(std::move(path)),
      config_(parse_hugging_face_config(directory_.config_text(), directory_.config_path().string())) {
  const FamilyRules& rules = rules_of(config_.family);
  // A damaged number could ask for more names than fit into memory.
  if (static_cast<std::size_t>(config_.layers) > directory_.tensors().size())
    throw_input_error(
        "{}: {} = {}, and the directory has {} tensors in all; correct it, or download the directory again",
        directory_.config_path().string(), rules.keys.layers, config_.layers, directory_.tensors().size());
  prefixed_ = !directory_.find(rules.embedding);
  parameters_ = exchanged_parameters(config_, prefixed_);
  check_tensors();
}

void HuggingFaceModel::check_tensors() {
  const FamilyRules& rules = rules_of(config_.family);
  const std::string where = directory_.path().string();
  LinesOfAKind missing, misshapen, unread, left_over;
  std::set<std::string_view> used;
  const auto check = [&](const PlacedTensor& placed, const std::vector<std::int64_t>& shape,
                         std::string_view parameter) {
    const StoredTensor& tensor = *placed.tensor;
    used.insert(tensor.name);
    if (tensor.shape != shape)
      misshapen.add(
          fmt::format("{} has the shape {}, and {} needs [{}] by config.json; the weights and config.json are "
                      "not of one model: download the directory again",
                      placed.text(), tensor.shape_text(), parameter, fmt::join(shape, ", ")));
    if (tensor.type.type == StoredType::other)
      unread.add(
          fmt::format("{} is stored as {}, and weights are read from F32, BF16, F16 and F64; use weights that are "
                      "not quantized",
                      placed.text(), tensor.type.name));
  };
  for (const ExchangedParameter& parameter : parameters_) {
    std::vector<PlacedTensor>& pieces = tensors_.emplace_back();
    for (const ExchangedPiece& piece : parameter.pieces) {
      const auto placed = directory_.find(piece.tensor);
      if (placed) {
        check(*placed, parameter.stored_shape(piece), parameter.name);
        pieces.push_back(*placed);
      } else if (piece.tensor == NameTable::head_tensor) {
        missing.add(
            fmt::format("{}: has no tensor {}, and config.json says tie_word_embeddings = false; if the head is "
                        "the token embedding, say true there, or else download the directory again",
                        where, piece.tensor));
      } else {
        missing.add(
            fmt::format("{}: has no tensor {}, of which {} is made; download the directory again, or correct "
                        "config.json",
                        where, piece.tensor, parameter.name));
      }
    }
  }
  if (config_.tied) spare_head_ = directory_.find(NameTable::head_tensor);
  if (spare_head_) check(*spare_head_, {config_.vocabulary, config_.width}, "the head");
  const std::string_view prefix = prefixed_ ? rules.prefix : "";
  for (const PlacedTensor& placed : directory_.tensors())
    if (!used.contains(placed.tensor->name) && !is_ignored(rules, placed.tensor->name, prefix))
      left_over.add(
          fmt::format("{} is no part of a {} model as config.json describes it: without it the model would "
                      "compute something else; use weights of a plain {} model, or correct config.json",
                      placed.text(), rules.model_type, rules.model_type));
  Mistakes mistakes;
  missing.report(mistakes, "are missing");
  misshapen.report(mistakes, "have a wrong shape");
  unread.report(mistakes, "have a type that is not read");
  left_over.report(mistakes, "are left over");
  mistakes.throw_if_any();
}

std::optional<std::size_t> HuggingFaceModel::find(std::string_view name) const {
  const auto found = std::find_if(parameters_.begin(), parameters_.end(),
                                  [&](const ExchangedParameter& parameter) { return parameter.name == name; });
  if (found == parameters_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - parameters_.begin());
}

std::optional<StoredType> HuggingFaceModel::stored_type() const {
  const StoredType first = tensors_.front().front().tensor->type.type;
  for (const auto& pieces : tensors_)
    for (const PlacedTensor& placed : pieces)
      if (placed.tensor->type.type != first) return std::nullopt;
  return first;
}

void HuggingFaceModel::read_box(std::size_t index, const Box& box, float* values) const {
  for (const BoxPiece& part : pieces_of_box(parameters_[index], box)) {
    const PlacedTensor& placed = tensors_[index][part.piece];
    if (parameters_[index].pieces[part.piece].transposed)
      placed.file->read_transposed(*placed.tensor, part.stored, values + part.first, part.stride);
    else
      placed.file->read(*placed.tensor, part.stored, values + part.first, part.stride);
  }
}

void HuggingFaceModel::check_tied_head(int part, int parts) const {
  if (!spare_head_) return;
  const std::int64_t rows = config_.vocabulary, width = config_.width;
  const PlacedTensor& embedding = tensors_.front().front();  // the first parameter of all families
  const std::int64_t first = rows * part / parts, end = rows * (part + 1) / parts;
  const std::int64_t at_once = std::max<std::int64_t>(1, (std::int64_t{256} << 10) / width);
  std::vector<float> a(static_cast<std::size_t>(std::min(at_once, end - first) * width)), b(a.size());
  for (std::int64_t row = first; row < end; row += at_once) {
    const MatrixPart now{.first_row = row, .rows = std::min(at_once, end - row), .columns = width};
    embedding.file->read(*embedding.tensor, now, a.data(), width);
    spare_head_->file->read(*spare_head_->tensor, now, b.data(), width);
    if (std::memcmp(a.data(), b.data(), static_cast<std::size_t>(now.rows * width) * sizeof(float)) != 0)
      throw_input_error(
          "{} and {} differ in rows {} to {}, and config.json says tie_word_embeddings = true; say false there to keep "
          "both, or leave {} out of the files",
          spare_head_->text(), embedding.tensor->name, row, row + now.rows - 1, spare_head_->tensor->name);
  }
}

}  // namespace penstock
