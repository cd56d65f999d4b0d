// SPDX-License-Identifier: Apache-2.0
#include "exchange/safetensors_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <type_traits>

#include "exchange/sample_files.hpp"

namespace penstock::safetensors_file_test {
namespace {

static_assert(std::is_nothrow_move_constructible_v<SafetensorsFile> && !std::is_copy_constructible_v<SafetensorsFile>);

class SafetensorsFileTest : public ::testing::Test {
 protected:
  SafetensorsFile open(const std::string& bytes) {
    test::write_file(path_, bytes);
    return SafetensorsFile(path_);
  }
  SafetensorsFile open(const test::SampleTensors& tensors) { return open(test::safetensors_bytes(tensors)); }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "model.safetensors";
};

TEST_F(SafetensorsFileTest, ReadsWhatTheReferenceLibraryWrites) {
  // safetensors 0.8.0 of Python: save({"b.weight": float32 [2, 3] 0..5, "a": float16 [1, 2.5, -3]}, {"format": "pt"}).
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("a":{"dtype":"F16","shape":[3],"data_offsets":[24,30]}}  )";
  const float b[] = {0, 1, 2, 3, 4, 5};
  std::string data(reinterpret_cast<const char*>(b), sizeof b);
  data.append("\x00\x3c\x00\x41\x00\xc2", 6);
  const SafetensorsFile file = open(test::safetensors_bytes(header, data));
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors()[0].name, "b.weight");
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.find("c"), nullptr);
  std::vector<float> values(3);
  file.read(*file.find("a"), {.rows = 3, .columns = 1}, values.data(), 1);
  EXPECT_EQ(values, (std::vector<float>{1, 2.5, -3}));
  values.resize(4);
  file.read(*file.find("b.weight"), {.first_column = 1, .rows = 2, .columns = 2}, values.data(), 2);
  EXPECT_EQ(values, (std::vector<float>{1, 2, 4, 5}));
}

TEST_F(SafetensorsFileTest, EveryPartIsThatOfTheWholeTensor) {
  // Widths on both sides of the gap that is worth reading, and of a chunk.
  const std::vector<std::vector<std::int64_t>> shapes{{1, 1}, {7, 5}, {64, 48}, {130, 4099}, {3, 70001}, {90001}};
  for (const auto& shape : shapes)
    for (const std::string type : {"F32", "BF16"}) {
      const SafetensorsFile file = open({{"t", test::sample_tensor("t", shape, type)}});
      const StoredTensor& tensor = *file.find("t");
      const std::int64_t rows = tensor.rows(), columns = tensor.columns();
      const MatrixPart parts[] = {
          {0, 0, rows, columns},
          {rows / 2, 0, rows - rows / 2, columns},
          {0, columns / 3, rows, (columns + 1) / 2},
          {rows / 3, columns - 1, (rows + 1) / 2, 1},
          {rows - 1, 0, 1, columns},
          {0, 0, 0, columns},
      };
      for (const MatrixPart& part : parts)
        for (const std::int64_t more : {0, 3}) {
          constexpr float untouched = 77;
          std::vector<float> plain(static_cast<std::size_t>(part.rows * (part.columns + more)), untouched);
          std::vector<float> turned(static_cast<std::size_t>(part.columns * (part.rows + more)), untouched);
          file.read(tensor, part, plain.data(), part.columns + more);
          file.read_transposed(tensor, part, turned.data(), part.rows + more);
          std::int64_t wrong = 0;
          for (std::int64_t r = 0; r < part.rows; ++r)
            for (std::int64_t c = 0; c < part.columns + more; ++c) {
              const float value = test::sample_value("t", (part.first_row + r) * columns + part.first_column + c, type);
              wrong += plain[static_cast<std::size_t>(r * (part.columns + more) + c)] !=
                       (c < part.columns ? value : untouched);
              if (c < part.columns) wrong += turned[static_cast<std::size_t>(c * (part.rows + more) + r)] != value;
            }
          for (std::int64_t c = 0; c < part.columns; ++c)
            for (std::int64_t r = part.rows; r < part.rows + more && part.rows > 0; ++r)
              wrong += turned[static_cast<std::size_t>(c * (part.rows + more) + r)] != untouched;
          EXPECT_EQ(wrong, 0) << tensor.shape_text() << " " << type << ": " << part.first_row << ", "
                              << part.first_column << ", " << part.rows << ", " << part.columns << " + " << more;
        }
    }
}

TEST_F(SafetensorsFileTest, TakesTensorsOfNoElementsAndOfNoDimensions) {
  const SafetensorsFile file = open({{"empty", {"F32", {0, 4}, ""}}, {"one", {"F32", {}, std::string(4, '\0')}}});
  EXPECT_EQ(file.find("empty")->elements(), 0);
  EXPECT_EQ(file.find("one")->shape_text(), "[]");
  float value = 7;
  file.read(*file.find("one"), {.rows = 1, .columns = 1}, &value, 1);
  EXPECT_EQ(value, 0);
}

TEST_F(SafetensorsFileTest, MoreThanATensorHasIsALogicError) {
  const SafetensorsFile file =
      open({{"t", test::sample_tensor("t", {2, 3}, "F32")}, {"u", {"I64", {1}, std::string(8, '\0')}}});
  std::vector<float> values(100);
  EXPECT_THROW(file.read(*file.find("t"), {1, 0, 2, 3}, values.data(), 3), LogicError);
  EXPECT_THROW(file.read(*file.find("t"), {0, 1, 2, 3}, values.data(), 3), LogicError);
  EXPECT_THROW(file.read(*file.find("t"), {-1, 0, 1, 3}, values.data(), 3), LogicError);
  EXPECT_THROW(file.read(*file.find("u"), {0, 0, 1, 1}, values.data(), 1), LogicError);
}

TEST_F(SafetensorsFileTest, AFileThatShrinksWhileItIsOpenIsASystemError) {
  const SafetensorsFile file = open({{"t", test::sample_tensor("t", {8, 8}, "BF16")}});
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 1);
  std::vector<float> values(64);
  EXPECT_THROW(file.read(*file.find("t"), {0, 0, 8, 8}, values.data(), 8), SystemError);
}

TEST_F(SafetensorsFileTest, NamesWhatCannotBeOpened) {
  const auto message = [&](const std::filesystem::path& path) {
    return test::input_error([&] { SafetensorsFile file(path); });
  };
  EXPECT_NE(message(folder_ / "none").find("does not exist"), std::string::npos);
  EXPECT_NE(message(folder_.path()).find("is a folder"), std::string::npos);
  test::write_file(path_, test::safetensors_bytes({{"t", test::sample_tensor("t", {2}, "F32")}}));
  ::chmod(path_.c_str(), 0);
  ::chmod(folder_.path().c_str(), 0755);
  const test::WithoutPrivileges nobody;
  EXPECT_NE(message(path_).find("Permission denied"), std::string::npos) << message(path_);
}

TEST_F(SafetensorsFileTest, APipeIsNotWaitedFor) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_NE(test::input_error([&] { SafetensorsFile file(path_); }).find("is not a regular file"), std::string::npos);
}

}  // namespace
}  // namespace penstock::safetensors_file_test
