#include "app/evidence_leaves.h"

#include <algorithm>
#include <cctype>

namespace longleaf {
namespace {

// Whether `words` stand in the text, and are not parts of longer ones.
bool hasWords(const std::string& text, const std::string& words) {
  const auto inside = [&](size_t at) {
    return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
  };
  for (size_t at = text.find(words); !words.empty() && at != std::string::npos; at = text.find(words, at + 1))
    if ((at == 0 || !inside(at - 1)) && !inside(at + words.size())) return true;
  return false;
}

}  // namespace

Result<EvidenceLeaves> EvidenceLeaves::read(Library& library, const DocumentRow& document) {
  EvidenceLeaves leaves;
  LL_ASSIGN_OR_RETURN(const auto nodes, library.tree(document.key));
  for (const NodeRow& node : nodes) {
    if (node.kind != NodeKind::Leaf) continue;
    LL_ASSIGN_OR_RETURN(std::string text, library.leaf_text(node.key));
    leaves.all_.push_back({node.key, node.page_first + 1, node.page_last + 1, std::move(text)});
  }
  return leaves;
}

std::vector<int64_t> EvidenceLeaves::of(const QuestionOnFile& question) const {
  constexpr size_t kMostWithAnswer = 8;
  std::vector<int64_t> on_pages, with_answer;
  for (const Leaf& leaf : all_) {
    const auto touches = [&](int page) { return leaf.page_first <= page && page <= leaf.page_last; };
    if (!question.pages.empty() && std::none_of(question.pages.begin(), question.pages.end(), touches)) continue;
    on_pages.push_back(leaf.key);
    if (hasWords(leaf.text, question.answers[0])) with_answer.push_back(leaf.key);
  }
  if (!with_answer.empty() && with_answer.size() <= kMostWithAnswer) return with_answer;
  return !question.pages.empty() && on_pages.size() <= kMostWithAnswer ? on_pages : std::vector<int64_t>();
}

}  // namespace longleaf
