// SPDX-License-Identifier: Apache-2.0
#include "exchange/safetensors_writer.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "exchange/sample_files.hpp"

namespace penstock::safetensors_writer_test {
namespace {

class SafetensorsWriterTest : public ::testing::Test {
 protected:
  test::TemporaryFolder folder_;
  const SafetensorsPlan plan_{{{"b.weight", {2, 3}}, {"a.weight", {3}}}, DType::float32, 1000};
};
TEST_F(SafetensorsWriterTest, WritesTheReferenceLibrarysFile) {
  // safetensors 0.8.0 of Python: save({"b.weight": float32 [2, 3] 0..5, "a.weight": [1, 2.5, -3]}, {"format": "pt"}).
  const std::string header =
      std::string("\xa0\0\0\0\0\0\0\0", 8) +
      R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
      R"("b.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[12,36]}}   )";
  const float data[] = {1, 2.5, -3, 0, 1, 2, 3, 4, 5};
  prepare_safetensors(folder_ / "new" / "folder", plan_, "m");
  SafetensorsWriter writer(folder_ / "new" / "folder", plan_, "m");
  writer.write("a.weight", {.rows = 3, .columns = 1}, data, 1);
  writer.write("b.weight", {.rows = 2, .columns = 3}, data + 3, 3);
  writer.finish();
  publish_safetensors(folder_ / "new" / "folder", plan_, "m", {});
  EXPECT_EQ(test::read_file(folder_ / "new" / "folder" / "model.safetensors"),
            header + std::string(reinterpret_cast<const char*>(data), sizeof data));
}

TEST_F(SafetensorsWriterTest, LargeTensorsComeInPieces) {
  // More than is narrowed at once, and more than a tile has rows and columns.
  constexpr std::int64_t rows = 270, columns = 1100;
  const SafetensorsPlan plan({{"plain", {rows, columns}}, {"turned", {rows, columns}}}, DType::bfloat16, 1U << 30);
  std::vector<float> values, turned(rows * columns);
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    values.push_back(test::sample_value("t", i, "BF16"));
    turned[static_cast<std::size_t>(i % columns * rows + i / columns)] = values.back();
  }
  prepare_safetensors(folder_.path(), plan, "m");
  SafetensorsWriter writer(folder_.path(), plan, "m");
  writer.write("plain", {.rows = rows, .columns = columns}, values.data(), columns);
  writer.write_transposed("turned", {.rows = rows, .columns = columns}, turned.data(), rows);
  writer.finish();
  publish_safetensors(folder_.path(), plan, "m", {});
  const SafetensorsFile file(folder_ / "model.safetensors");
  for (const StoredTensor& tensor : file.tensors()) {
    std::vector<float> read(values.size());
    file.read(tensor, {.rows = rows, .columns = columns}, read.data(), columns);
    EXPECT_TRUE(read == values) << tensor.name;
  }
}

TEST_F(SafetensorsWriterTest, ADiscardedExportLeavesNothing) {
  prepare_safetensors(folder_.path(), plan_, "m");
  EXPECT_EQ(folder_.entries(), 1U);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "model.safetensors"));
  discard_safetensors(folder_.path(), "other");
  EXPECT_EQ(folder_.entries(), 1U);
  discard_safetensors(folder_.path(), "m");
  EXPECT_EQ(folder_.entries(), 0U);
  discard_safetensors(folder_ / "none", "m");
}

TEST_F(SafetensorsWriterTest, RefusesAFolderWithAModel) {
  for (const std::string name : {"config.json", "model.safetensors", "model-00001-of-00002.safetensors"}) {
    test::write_file(folder_ / name, "x");
    const std::string message = test::input_error([&] { prepare_safetensors(folder_.path(), plan_, "m"); });
    EXPECT_NE(message.find("holds a model already (it has " + name), std::string::npos) << message;
    std::filesystem::remove(folder_ / name);
  }
  test::write_file(folder_ / "file", "x");
  const std::string message = test::input_error([&] { prepare_safetensors(folder_ / "file", plan_, "m"); });
  EXPECT_NE(message.find("is a file"), std::string::npos) << message;
}

TEST_F(SafetensorsWriterTest, NamesAFolderWithoutPermission) {
  ::chmod(folder_.path().c_str(), 0555);
  const test::WithoutPrivileges nobody;
  for (const std::filesystem::path& path : {folder_ / "new", folder_.path()}) {
    const std::string message = test::input_error([&] { prepare_safetensors(path, plan_, "m"); });
    EXPECT_NE(message.find("ermission denied"), std::string::npos) << message;
  }
}

TEST_F(SafetensorsWriterTest, OutsideAPartOrAPlanIsALogicError) {
  prepare_safetensors(folder_.path(), plan_, "m");
  SafetensorsWriter writer(folder_.path(), plan_, "m");
  const std::vector<float> values(100);
  EXPECT_THROW(writer.write("c", {.rows = 1, .columns = 1}, values.data(), 1), LogicError);
  EXPECT_THROW(writer.write("a.weight", {.first_row = 1, .rows = 3, .columns = 1}, values.data(), 1), LogicError);
  EXPECT_THROW(writer.write_transposed("b.weight", {.rows = 3, .columns = 2}, values.data(), 3), LogicError);
  EXPECT_THROW(SafetensorsPlan({{"a", {1}}, {"a", {1}}}, DType::float32, 8), LogicError);
}

}  // namespace
}  // namespace penstock::safetensors_writer_test
