// Weights in any block format, rounded to nearest: enough to see what a format costs. Where a format keeps its codes
// and scales is found by trying which bit of a block changes what kernels/blocks.h reads of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "kernels/blocks.h"

namespace longleaf::test {

class BlockFitter {
 public:
  explicit BlockFitter(kernels::DType type) : type_(type), format_(kernels::format_of(type)) {
    for (int bit = 0; bit < 8 * format_.bytes; ++bit)
      if (!look_at(bit, '\0')) look_at(bit, '\xff');  // a sign says nothing of a zero
    for (auto& [bits, field] : fields_)
      for (unsigned pattern = 0; pattern < 1u << bits.size(); ++pattern)
        field.patterns[value_of(bits, pattern, field)] = pattern;
  }

  // One block of the numbers at x, appended to `out`.
  void fit(const float* x, std::string& out) const {
    std::string block(static_cast<size_t>(format_.bytes), '\0');
    std::vector<Group> groups = wanted(x);
    put_factors(groups, block);
    kernels::Block read;
    unpack(block, read);
    for (const auto& [bits, field] : fields_) {
      if (field.kind != Kind::Code) continue;
      const int i = field.first, g = i / kernels::kGroupValues;
      const float scale = read.d * static_cast<float>(read.scale[g]), min = read.dmin * static_cast<float>(read.min[g]);
      put(bits, field, scale == 0 ? 0 : (x[i] + min) / scale, block);
    }
    out += block;
  }

 private:
  enum class Kind { Code, Scale, Minimum };
  struct Field {
    Kind kind = Kind::Code;
    int first = 0;                     // of the codes or groups that share it
    std::map<int, unsigned> patterns;  // by the number they stand for
  };
  using Bits = std::vector<int>;
  struct Group {
    float scale = 0, minimum = 0;
  };

  void unpack(const std::string& block, kernels::Block& out) const {
    kernels::unpack_block(type_, reinterpret_cast<const uint8_t*>(block.data()), out);
  }
  static void toggle(std::string& block, int bit) {
    block[static_cast<size_t>(bit / 8)] = static_cast<char>(block[static_cast<size_t>(bit / 8)] ^ (1 << (bit % 8)));
  }

  // Adds a bit to the field that it belongs to, or to the places of d and dmin. False where it changes no field.
  bool look_at(int bit, char others) {
    const std::string block(static_cast<size_t>(format_.bytes), others);
    std::string changed = block;
    toggle(changed, bit);
    kernels::Block before, after;
    unpack(block, before), unpack(changed, after);
    if (kernels::float_to_bits(before.d) != kernels::float_to_bits(after.d) && d_ < 0) d_ = bit / 8;
    if (kernels::float_to_bits(before.dmin) != kernels::float_to_bits(after.dmin) && dmin_ < 0) dmin_ = bit / 8;
    const auto add = [&](Kind kind, int i) {
      for (auto it = fields_.begin(); it != fields_.end(); ++it) {
        if (it->second.kind != kind || it->second.first != i) continue;
        Bits bits = it->first;
        bits.push_back(bit);
        const Field field = it->second;
        fields_.erase(it);
        fields_[bits] = field;
        return true;
      }
      fields_[{bit}] = {kind, i, {}};
      return true;
    };
    for (int i = 0; i < format_.values; ++i)
      if (before.code[i] != after.code[i]) return add(Kind::Code, i);
    for (int g = 0; g < format_.values / kernels::kGroupValues; ++g) {
      if (before.scale[g] != after.scale[g]) return add(Kind::Scale, g);
      if (before.min[g] != after.min[g]) return add(Kind::Minimum, g);
    }
    return false;
  }

  int value_of(const Bits& bits, unsigned pattern, const Field& field) const {
    std::string block(static_cast<size_t>(format_.bytes), '\0');
    for (size_t i = 0; i < bits.size(); ++i)
      if ((pattern >> i & 1) != 0) toggle(block, bits[i]);
    kernels::Block read;
    unpack(block, read);
    return field.kind == Kind::Code    ? read.code[field.first]
           : field.kind == Kind::Scale ? read.scale[field.first]
                                       : read.min[field.first];
  }

  void put(const Bits& bits, const Field& field, float wanted, std::string& block) const {
    const auto nearest =
        std::min_element(field.patterns.begin(), field.patterns.end(), [&](const auto& a, const auto& b) {
          return std::abs(static_cast<float>(a.first) - wanted) < std::abs(static_cast<float>(b.first) - wanted);
        });
    for (size_t i = 0; i < bits.size(); ++i)
      if ((nearest->second >> i & 1) != 0) toggle(block, bits[i]);
  }

  const Field& field_of(Kind kind) const {
    return std::find_if(fields_.begin(), fields_.end(), [&](const auto& f) { return f.second.kind == kind; })->second;
  }
  bool has(Kind kind) const {
    return std::any_of(fields_.begin(), fields_.end(), [&](const auto& f) { return f.second.kind == kind; });
  }
  static float largest(const std::map<int, unsigned>& patterns) {  // by magnitude
    const auto low = static_cast<float>(patterns.begin()->first), high = static_cast<float>(patterns.rbegin()->first);
    return std::abs(low) > high ? low : high;
  }

  // What every group of 16 would have for itself; groups that share a scale, the one that serves all.
  std::vector<Group> wanted(const float* x) const {
    std::vector<Group> groups(static_cast<size_t>(format_.values / kernels::kGroupValues));
    std::vector<int> owner(groups.size(), 0);
    for (size_t g = 1; g < groups.size(); ++g) {
      owner[g] = owner[g - 1];
      for (const auto& [bits, field] : fields_)
        if (field.kind == Kind::Scale && field.first == static_cast<int>(g)) owner[g] = static_cast<int>(g);
    }
    const float most = largest(field_of(Kind::Code).patterns);
    for (size_t g = 0; g < groups.size(); ++g) {
      float low = 0, high = 0;
      for (int i = 0; i < format_.values; ++i) {
        if (owner[static_cast<size_t>(i / kernels::kGroupValues)] != owner[g]) continue;
        low = std::min(low, x[i]), high = std::max(high, x[i]);
      }
      groups[g] = dmin_ >= 0 ? Group{(high - low) / most, -low} : Group{(-low > high ? low : high) / most, 0};
    }
    return groups;
  }

  void put_half(int place, float value, std::string& block) const {
    const uint16_t bits = kernels::float_to_half(value);
    std::memcpy(block.data() + place, &bits, 2);
  }

  void put_factors(const std::vector<Group>& groups, std::string& block) const {
    float scale = 0, minimum = 0;  // the largest
    for (const Group& g : groups) {
      if (std::abs(g.scale) > std::abs(scale)) scale = g.scale;
      minimum = std::max(minimum, g.minimum);
    }
    if (type_ == kernels::DType::MXFP4) {
      block[0] = static_cast<char>(
          scale == 0 ? 0 : std::clamp(static_cast<int>(std::ceil(std::log2(std::abs(scale)))) + 128, 0, 254));
      return;
    }
    put_half(d_, has(Kind::Scale) ? scale / largest(field_of(Kind::Scale).patterns) : scale, block);
    if (dmin_ >= 0)
      put_half(dmin_, has(Kind::Minimum) ? minimum / largest(field_of(Kind::Minimum).patterns) : -minimum, block);
    kernels::Block read;
    unpack(block, read);
    for (const auto& [bits, field] : fields_) {
      const Group& g = groups[static_cast<size_t>(field.kind == Kind::Code ? 0 : field.first)];
      if (field.kind == Kind::Scale) put(bits, field, read.d == 0 ? 0 : g.scale / read.d, block);
      if (field.kind == Kind::Minimum) put(bits, field, read.dmin == 0 ? 0 : g.minimum / read.dmin, block);
    }
  }

  kernels::DType type_;
  const kernels::Format& format_;
  std::map<Bits, Field> fields_;
  int d_ = -1, dmin_ = -1;  // bytes
};

}  // namespace longleaf::test
