// A PDF written object by object, for what no writer makes.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace longleaf::test {

class RawPdf {
 public:
  // Numbered from 1 in the order they come; the first is the catalogue.
  void object(const std::string& body) {
    offsets_.push_back(bytes_.size());
    bytes_ += std::to_string(offsets_.size()) + " 0 obj\n" + body + "\nendobj\n";
  }
  void stream(const std::string& dictionary, const std::string& content) {
    object("<<" + dictionary + "/Length " + std::to_string(content.size()) + ">>stream\n" + content + "\nendstream");
  }
  size_t objects() const { return offsets_.size(); }

  void save(const std::filesystem::path& file) {
    const size_t table = bytes_.size();
    bytes_ += "xref\n0 " + std::to_string(offsets_.size() + 1) + "\n0000000000 65535 f \n";
    for (const size_t offset : offsets_) {
      const std::string digits = std::to_string(offset);
      bytes_ += std::string(10 - digits.size(), '0') + digits + " 00000 n \n";
    }
    bytes_ += "trailer<</Root 1 0 R/Size " + std::to_string(offsets_.size() + 1) + ">>\nstartxref\n" +
              std::to_string(table) + "\n%%EOF";
    std::ofstream(file, std::ios::binary) << bytes_;
  }

 private:
  std::string bytes_ = "%PDF-1.4\n";
  std::vector<size_t> offsets_;
};

}  // namespace longleaf::test
