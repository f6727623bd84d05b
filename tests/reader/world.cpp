#include "tests/reader/world.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <sstream>

namespace longleaf::reader {
namespace {

constexpr std::array kFirst = {"Kor", "Bel", "Tan", "Mir", "Dos", "Ral", "Ven", "Sul", "Pak", "Lom", "Gar",
                               "Nib", "Hev", "Zet", "Fur", "Jod", "Qui", "Wex", "Yar", "Cal", "Dre", "Fli",
                               "Gro", "Ste", "Bra", "Cru", "Pli", "Tro", "Sna", "Vlo", "Kni", "Spe"};
constexpr std::array kSecond = {"va",  "to",  "dex", "lin", "mar", "gon", "pel", "rus", "sta", "vik", "zon",
                                "bur", "cam", "dor", "fen", "gil", "hus", "jem", "kol", "lat", "nur", "pod",
                                "qua", "rim", "sob", "tez", "ul",  "wen", "xor", "yel", "zim", "ast"};
constexpr std::array kKinds = {"pump", "valve", "motor", "filter", "sensor", "fan", "heater", "switch"};

enum class Values { Number, Colour, Material, Place, Part };
struct Property {
  const char *name, *unit;
  Values values;
};
constexpr std::array kProperties = {Property{"torque", "newton metres", Values::Number},
                                    Property{"mass", "kilograms", Values::Number},
                                    Property{"width", "millimetres", Values::Number},
                                    Property{"length", "millimetres", Values::Number},
                                    Property{"voltage", "volts", Values::Number},
                                    Property{"current", "amperes", Values::Number},
                                    Property{"pressure", "bar", Values::Number},
                                    Property{"flow", "litres", Values::Number},
                                    Property{"speed", "turns", Values::Number},
                                    Property{"temperature", "degrees", Values::Number},
                                    Property{"power", "watts", Values::Number},
                                    Property{"lifetime", "months", Values::Number},
                                    Property{"colour", "", Values::Colour},
                                    Property{"material", "", Values::Material},
                                    Property{"position", "", Values::Place},
                                    Property{"seal", "", Values::Part},
                                    Property{"cover", "", Values::Part},
                                    Property{"cable", "", Values::Part},
                                    Property{"bracket", "", Values::Part}};
constexpr std::array kColours = {"red", "blue", "green", "white", "black", "grey", "yellow", "orange"};
constexpr std::array kMaterials = {"steel", "brass", "copper", "rubber", "nylon", "glass", "zinc", "bronze"};
constexpr std::array kPlaces = {"left", "right", "top", "bottom", "front", "rear", "inside", "outside"};
constexpr std::array kFillers = {
    "Check it before use.",        "Keep the area clean.",           "Only trained people may open it.",
    "Do not run it dry.",          "See the next section for more.", "Store it in a dry place.",
    "Replace worn parts at once.", "Read this section first."};

template <size_t N>
std::string pick(const std::array<const char*, N>& words, Random& random) {
  return words[static_cast<size_t>(random.below(static_cast<int>(N)))];
}

// A fifth of the names, and of the numbers, is held out.
bool name_is_held_out(int first, int second, int third) { return (7 * first + 3 * second + third) % 5 == 0; }
// By all its digits: none of them says by itself that a number is.
bool number_is_held_out(int number) { return (number / 100 + 2 * (number / 10 % 10) + 3 * (number % 10)) % 5 == 3; }

std::string name(bool held_out, Random& random) {
  const auto below = [&random](size_t n) { return random.below(static_cast<int>(n)); };
  while (true) {
    const int first = below(kFirst.size()), second = below(kSecond.size()), third = below(kSecond.size());
    if (name_is_held_out(first, second, third) != held_out) continue;
    return std::string(kFirst[static_cast<size_t>(first)]) + kSecond[static_cast<size_t>(second)] +
           kSecond[static_cast<size_t>(third)];
  }
}

std::string number(bool held_out, Random& random) {
  while (true) {
    const int n = 10 + random.below(890);
    if (number_is_held_out(n) == held_out) return std::to_string(n);
  }
}

struct Part {
  std::string name;
  std::map<size_t, std::string> values;  // of properties, by their number
  int64_t leaf = 0;
};

class Maker {
 public:
  Maker(const ManualShape& shape, uint64_t seed) : shape_(shape), random_(seed) {}

  SyntheticManual make() {
    std::set<std::string> names;
    while (static_cast<int>(names.size()) < shape_.leaves) {
      std::string one = name(shape_.held_out, random_);
      if (names.insert(one).second) parts_.push_back({std::move(one), {}, 0});
    }
    for (Part& part : parts_) choose_values(part);
    write_tree();
    write_questions();
    return std::move(manual_);
  }

 private:
  void choose_values(Part& part) {
    for (int i = 0; i < shape_.facts; ++i) {
      const auto property = static_cast<size_t>(random_.below(static_cast<int>(kProperties.size())));
      part.values[property] = value(kProperties[property]);
    }
  }

  std::string value(const Property& property) {
    switch (property.values) {
      case Values::Number:
        return number(shape_.held_out, random_) + " " + property.unit;
      case Values::Colour:
        return pick(kColours, random_);
      case Values::Material:
        return pick(kMaterials, random_);
      case Values::Place:
        return pick(kPlaces, random_);
      case Values::Part:
        return "the " + any_part().name;
    }
    return {};
  }

  const Part& any_part() { return parts_[static_cast<size_t>(random_.below(static_cast<int>(parts_.size())))]; }

  static std::string fact(const Part& part, size_t property) {
    return "The " + part.name + " " + kProperties[property].name + " is " + part.values.at(property) + ".";
  }

  std::string text_of(const Part& part) {
    std::vector<std::string> sentences;
    for (const auto& [property, value] : part.values) sentences.push_back(fact(part, property));
    sentences.push_back(pick(kFillers, random_));
    sentences.push_back("The " + part.name + " is next to the " + any_part().name + ".");
    for (size_t i = sentences.size(); i > 1; --i)
      std::swap(sentences[i - 1], sentences[static_cast<size_t>(random_.below(static_cast<int>(i)))]);
    std::string text = "The " + part.name + " is a " + pick(kKinds, random_) + ".";
    for (const std::string& sentence : sentences) text += " " + sentence;
    return text;
  }

  // A node, as importing the heading makes it: with a leaf of its own where nothing but headings follows it.
  int64_t section(int64_t parent, const std::string& path, const std::string& title, const std::string& text) {
    auto& nodes = manual_.document.nodes;
    const int64_t node = key_++;
    nodes.push_back({node, parent, false, 0, ""});
    std::string leaf = path + "\n" + title + (text.empty() ? "" : "\n" + text) + "\n\n";
    const auto words = static_cast<int>(std::count(leaf.begin(), leaf.end(), ' '));
    nodes.push_back({key_++, node, true, 2 * words, std::move(leaf)});
    return node;
  }

  void write_tree() {
    const std::string title = "Manual of parts";
    DocumentInput& d = manual_.document;
    d.id = "manual";
    d.key = 1;
    d.title = title;
    manual_.markdown = "# " + title + "\n\n";
    d.nodes.push_back({key_++, 0, false, 0, ""});
    const int64_t book = section(1, title, title, "");
    int per_chapter = 1;
    while (per_chapter * per_chapter < shape_.leaves) ++per_chapter;
    int number = 1 + random_.below(30);  // of a chapter
    int64_t chapter = 0;
    std::string path;
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (static_cast<int>(i) % per_chapter == 0) {
        const std::string name = "Chapter " + std::to_string(number++);
        path = title + " › " + name;
        chapter = section(book, path, name, "");
        manual_.markdown += "## " + name + "\n\n";
      }
      const std::string text = text_of(parts_[i]);
      manual_.markdown += "### " + parts_[i].name + "\n\n" + text + "\n\n";
      section(chapter, path + " › " + parts_[i].name, parts_[i].name, text);
      parts_[i].leaf = d.nodes.back().key;
    }
  }

  void write_questions() {
    for (int tries = 0; static_cast<int>(manual_.questions.size()) < shape_.questions && tries < 1000; ++tries) {
      const int dice = random_.below(100);
      const Part& part = any_part();
      const bool done = dice < shape_.two_hop_percent                                 ? ask_two_hop(part)
                        : dice < shape_.two_hop_percent + shape_.unanswerable_percent ? ask_unanswerable(part)
                                                                                      : ask_fact(part);
      if (!done && tries > 500 && manual_.questions.empty()) ask_fact(part);
    }
  }

  size_t stated_property(const Part& part) {
    auto it = part.values.begin();
    std::advance(it, random_.below(static_cast<int>(part.values.size())));
    return it->first;
  }

  bool ask_fact(const Part& part) {
    const size_t property = stated_property(part);
    add("What is the " + part.name + " " + kProperties[property].name + "?", fact(part, property), QuestionKind::Fact,
        {part.leaf});
    return true;
  }

  bool ask_two_hop(const Part& part) {
    const size_t link = stated_property(part);
    if (kProperties[link].values != Values::Part) return false;
    const auto other = std::find_if(parts_.begin(), parts_.end(),
                                    [&](const Part& p) { return "the " + p.name == part.values.at(link); });
    if (&*other == &part) return false;
    const size_t property = stated_property(*other);
    add("What is the " + std::string(kProperties[property].name) + " of the " + part.name + " " +
            kProperties[link].name + "?",
        fact(part, link) + " " + fact(*other, property), QuestionKind::TwoHop, {part.leaf, other->leaf});
    return true;
  }

  bool ask_unanswerable(const Part& part) {
    const auto property = static_cast<size_t>(random_.below(static_cast<int>(kProperties.size())));
    if (part.values.count(property) > 0) return false;
    const std::string asked = part.name + " " + kProperties[property].name;
    add("What is the " + asked + "?", "The " + asked + " is not stated.", QuestionKind::Unanswerable, {part.leaf});
    return true;
  }

  void add(std::string text, std::string answer, QuestionKind kind, std::vector<int64_t> leaves) {
    manual_.questions.push_back({std::move(text), std::move(answer), kind, std::move(leaves)});
  }

  const ManualShape& shape_;
  Random random_;
  std::vector<Part> parts_;
  SyntheticManual manual_;
  int64_t key_ = 1;
};

}  // namespace

uint64_t Random::next() {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return state_ * 0x2545F4914F6CDD1Dull;
}

SyntheticManual make_manual(const ManualShape& shape, uint64_t seed) { return Maker(shape, seed).make(); }

std::vector<ScoredPiece> vocabulary() {
  std::set<std::string> words;
  const auto add_text = [&](const std::string& text) {
    std::istringstream in(text);
    for (std::string word; in >> word;) {
      while (!word.empty() && std::ispunct(static_cast<unsigned char>(word.back())) != 0) word.pop_back();
      if (!word.empty()) words.insert(word);
    }
  };
  for (const auto& property : kProperties) add_text(property.name), add_text(property.unit);
  for (const char* word : kColours) add_text(word);
  for (const char* word : kMaterials) add_text(word);
  for (const char* word : kPlaces) add_text(word);
  for (const char* word : kKinds) add_text(word);
  for (const char* text : kFillers) add_text(text);
  add_text(
      "The of the is a next to What not stated Manual parts Chapter Document: Question: in one or two sentences from "
      "below");
  add_text("Answer If does answer it say so question document");
  std::vector<ScoredPiece> pieces;
  for (const std::string& word : words) pieces.push_back({"\u2581" + word, -1});
  for (const char* line_start : {"The", "Question", "Document", "Answer", "Manual", "Chapter"})
    pieces.push_back({line_start, -1});
  for (const char* syllable : kFirst) pieces.push_back({std::string("\u2581") + syllable, -2});
  for (const char* syllable : kFirst) pieces.push_back({syllable, -2});
  for (const char* syllable : kSecond)
    if (words.count(syllable) == 0) pieces.push_back({syllable, -2});
  for (char digit = '0'; digit <= '9'; ++digit) pieces.push_back({std::string("\u2581") + digit, -1});
  pieces.push_back({"\u2581›", -1});
  pieces.push_back({"\u2581", -4});
  pieces.push_back({"\n", -2});
  for (char c = ' ' + 1; c < 127; ++c)
    pieces.push_back({std::string(1, c), std::isalpha(static_cast<unsigned char>(c)) != 0 ? -10.0f : -2.0f});
  std::set<std::string> seen;
  std::erase_if(pieces, [&](const ScoredPiece& piece) { return !seen.insert(piece.text).second; });
  return pieces;
}

}  // namespace longleaf::reader
