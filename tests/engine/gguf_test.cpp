#include "engine/model/model_file.h"

#include <fstream>
#include <iterator>
#include <random>

#include "engine/model/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/transformer/transformer.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"

using namespace longleaf;

namespace {

std::string valid_model() {
  std::ifstream file(std::string(LONGLEAF_TEST_DATA) + "/models/qwen2.gguf", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Reads, describes and loads; the result does not matter, only that it ends with a sentence or a model.
Status try_all(const std::string& bytes) {
  const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "bad.gguf");
  if (!file.ok()) return file.status();
  auto backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 64 << 20});
  const auto tokenizer = Tokenizer::load(*file);
  const auto model = Model::load(*file, *backend);
  return model.ok() ? tokenizer.ok() ? Status() : tokenizer.status() : model.status();
}

}  // namespace

TEST(a_whole_file_loads) {
  const std::string bytes = valid_model();
  REQUIRE(bytes.size() > 1000);
  REQUIRE_OK(try_all(bytes));
}

TEST(every_truncation_is_refused) {
  const std::string bytes = valid_model();
  for (size_t n = 0; n < bytes.size(); n += n < 6000 ? 1 : 997) {
    const Status status = try_all(bytes.substr(0, n));
    CHECK(!status.ok() && !status.message().empty());
  }
}

TEST(damaged_files_end_in_a_sentence_or_a_model) {
  const std::string bytes = valid_model();
  std::mt19937 random(11);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = bytes;
    for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips)
      damaged[random() % 6000] = static_cast<char>(random());
    const Status status = try_all(damaged);
    CHECK(status.ok() || !status.message().empty());
  }
}

TEST(lengths_beyond_the_file_are_not_allocated) {
  std::string bytes = valid_model();
  for (size_t i = 8; i < 24; ++i) bytes[i] = static_cast<char>(0xff);  // 2^64-1 tensors and values
  const Status status = try_all(bytes);
  CHECK(status.code() == Code::Corrupt);
}

TEST(a_missing_file_and_a_folder_say_what_they_are) {
  CHECK(ModelFile::open("/nonexistent/model.gguf").status().code() == Code::NotFound);
  CHECK(ModelFile::open("/tmp").status().code() == Code::NotFound);
  CHECK(try_all("GIF89a.................").message().find("not a GGUF") != std::string::npos);
}
