// SPDX-License-Identifier: Apache-2.0
#include "base/user_path.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "base/error.hpp"

namespace penstock::user_path_test {
namespace {

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no InputError was thrown";
}

TEST(UserPath, TellsWhatIsThere) {
  EXPECT_EQ(status_of_path("/", "").type(), std::filesystem::file_type::directory);
  EXPECT_EQ(status_of_path("/nowhere/at/all", "").type(), std::filesystem::file_type::not_found);
  EXPECT_EQ(status_of_path("", "").type(), std::filesystem::file_type::not_found);
  EXPECT_EQ(absolute_path("/a/b"), "/a/b");
}

TEST(UserPath, SaysWhyItCannotBeFollowed) {
  const std::filesystem::path longer = std::filesystem::path("/tmp") / std::string(256, 'x');
  EXPECT_EQ(message_of([&] { status_of_path(longer, "name another"); }),
            longer.string() + ": cannot be looked at: File name too long; name another");
}

TEST(UserPath, AWorkingFolderThatIsGone) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::string name = (std::filesystem::temp_directory_path() / "penstock-test-XXXXXX").string();
  ASSERT_EQ(chdir(mkdtemp(name.data())), 0);
  std::filesystem::remove(name);
  const std::string looked = message_of([] { status_of_path("deck.toml", "name another"); });
  const std::string named = message_of([] { absolute_path("run"); });
  const auto whole = status_of_path("/", "").type();
  std::filesystem::current_path(before);
  EXPECT_NE(looked.find("deck.toml: starts from the working folder"), std::string::npos) << looked;
  EXPECT_NE(named.find("run: starts from the working folder"), std::string::npos) << named;
  EXPECT_EQ(whole, std::filesystem::file_type::directory);
}

}  // namespace
}  // namespace penstock::user_path_test
