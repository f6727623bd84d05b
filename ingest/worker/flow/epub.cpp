#include "ingest/worker/flow/epub.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <zip.h>

#include <QByteArray>
#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>

#include "ingest/worker/flow/html.h"

namespace longleaf::worker {
namespace {

constexpr zip_uint64_t kMostOfOne = 64 << 20;     // bytes of one entry, unpacked: more is a trap
constexpr size_t kMostOfAll = size_t{256} << 20;  // of the whole book

Status broken(const std::string& what) { return Status(Code::Corrupt, "The EPUB is damaged: " + what); }

class Archive {
 public:
  static Result<std::unique_ptr<Archive>> open(std::string_view bytes) {
    std::unique_ptr<Archive> archive(new Archive);
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
    archive->zip_ = source == nullptr ? nullptr : zip_open_from_source(source, ZIP_RDONLY, &error);
    if (archive->zip_ == nullptr && source != nullptr) zip_source_free(source);
    zip_error_fini(&error);
    if (archive->zip_ == nullptr) return broken("its archive cannot be opened");
    return archive;
  }
  ~Archive() {
    if (zip_ != nullptr) zip_discard(zip_);
  }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  Result<std::string> read(const std::string& name) {
    zip_stat_t info;
    if (zip_stat(zip_, name.c_str(), 0, &info) != 0 || (info.valid & ZIP_STAT_SIZE) == 0)
      return broken(name + " is missing");
    if (info.size > kMostOfOne || unpacked_ + info.size > kMostOfAll) return broken(name + " is far too large");
    unpacked_ += info.size;
    const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen(zip_, name.c_str(), 0), zip_fclose);
    std::string bytes(info.size, '\0');
    if (file == nullptr || zip_fread(file.get(), bytes.data(), info.size) != static_cast<zip_int64_t>(info.size))
      return broken(name + " cannot be unpacked");
    return bytes;
  }
  bool has(const std::string& name) { return zip_name_locate(zip_, name.c_str(), 0) >= 0; }

 private:
  Archive() = default;
  zip_t* zip_ = nullptr;
  size_t unpacked_ = 0;
};

// An XML file, asked by XPath. Elements are named by local-name(), because books differ in their namespaces.
class Xml {
 public:
  explicit Xml(const std::string& bytes)
      : document_(xmlReadMemory(bytes.data(), static_cast<int>(bytes.size()), nullptr, nullptr,
                                XML_PARSE_RECOVER | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NONET),
                  xmlFreeDoc),
        context_(document_ == nullptr ? nullptr : xmlXPathNewContext(document_.get()), xmlXPathFreeContext) {}

  std::vector<xmlNode*> nodes(const char* path, xmlNode* from = nullptr) const {
    std::vector<xmlNode*> found;
    if (context_ == nullptr) return found;
    context_->node = from != nullptr ? from : xmlDocGetRootElement(document_.get());
    const std::unique_ptr<xmlXPathObject, void (*)(xmlXPathObject*)> result(
        xmlXPathEvalExpression(reinterpret_cast<const xmlChar*>(path), context_.get()), xmlXPathFreeObject);
    if (result == nullptr || result->nodesetval == nullptr) return found;
    for (int i = 0; i < result->nodesetval->nodeNr; ++i) found.push_back(result->nodesetval->nodeTab[i]);
    return found;
  }

  // The text of the first node, "" where there is none.
  std::string text(const char* path, xmlNode* from = nullptr) const {
    const auto found = nodes(path, from);
    if (found.empty()) return {};
    const std::unique_ptr<xmlChar, void (*)(void*)> text(xmlNodeGetContent(found[0]), [](void* p) { xmlFree(p); });
    return text == nullptr ? std::string() : simplified(reinterpret_cast<const char*>(text.get()));
  }

 private:
  std::unique_ptr<xmlDoc, void (*)(xmlDoc*)> document_;
  std::unique_ptr<xmlXPathContext, void (*)(xmlXPathContext*)> context_;
};

// A link of the file `base`, as a name in the archive without its fragment.
std::string resolved(const std::string& base, std::string link) {
  link = link.substr(0, link.find('#'));
  const std::string plain = QByteArray::fromPercentEncoding(QByteArray::fromStdString(link)).toStdString();
  return (std::filesystem::path(base).parent_path() / plain).lexically_normal().generic_string();
}

// Names of chapters by file, from the navigation of EPUB 2 (NCX) or 3.
std::map<std::string, std::string> chapter_names(Archive& archive, const Xml& package, const std::string& base) {
  std::map<std::string, std::string> names;
  const auto collect = [&](const std::string& file, const char* entries, const char* link, const char* label) {
    const auto bytes = file.empty() ? Result<std::string>(Status(Code::NotFound, "")) : archive.read(file);
    if (!bytes.ok()) return;
    const Xml xml(*bytes);
    for (xmlNode* entry : xml.nodes(entries))
      names.try_emplace(resolved(file, xml.text(link, entry)), xml.text(label, entry));
  };
  const auto item = [&](const char* path) {
    const std::string link = package.text(path);
    return link.empty() ? link : resolved(base, link);
  };
  collect(item("//*[local-name()='item'][contains(concat(' ',@properties,' '),' nav ')]/@href"),
          "//*[local-name()='nav'][1]//*[local-name()='a']", "@href", ".");
  collect(item("//*[local-name()='item'][@media-type='application/x-dtbncx+xml']/@href"),
          "//*[local-name()='navPoint']", "*[local-name()='content']/@src",
          "*[local-name()='navLabel']/*[local-name()='text']");
  return names;
}

// The files of the spine.
std::vector<std::string> chapters(const Xml& package, const std::string& base) {
  std::map<std::string, std::string> files;
  for (xmlNode* item : package.nodes("//*[local-name()='manifest']/*[local-name()='item']"))
    files[package.text("@id", item)] = resolved(base, package.text("@href", item));
  std::vector<std::string> order;
  for (xmlNode* item : package.nodes("//*[local-name()='spine']/*[local-name()='itemref']"))
    if (const auto file = files.find(package.text("@idref", item)); file != files.end()) order.push_back(file->second);
  return order;
}

// Fonts may be scrambled in any book; a chapter only by copy protection.
bool is_protected(Archive& archive, const std::vector<std::string>& order) {
  const auto bytes = archive.read("META-INF/encryption.xml");
  if (!bytes.ok()) return false;
  const Xml xml(*bytes);
  const auto links = xml.nodes("//*[local-name()='CipherReference']");
  return std::any_of(links.begin(), links.end(), [&](xmlNode* node) {
    return std::find(order.begin(), order.end(), resolved("", xml.text("@URI", node))) != order.end();
  });
}

// What a reader sees in place of a chapter that cannot be read.
FlowBlock notice(const std::string& reason) {
  FlowBlock block;
  block.runs.push_back({"[This chapter is missing. " + reason + ".]", false, true, false, false, 0});
  return block;
}

}  // namespace

Status read_epub(std::string_view bytes, Flow& flow) {
  auto opened = Archive::open(bytes);
  if (!opened.ok()) return opened.status();
  Archive& archive = **opened;
  const auto container = archive.read("META-INF/container.xml");
  if (!container.ok()) return container.status();
  const std::string base = Xml(*container).text("//*[local-name()='rootfile']/@full-path");
  const auto packed = archive.read(base);
  if (!packed.ok()) return packed.status();
  const Xml package(*packed);
  flow.title = package.text("//*[local-name()='metadata']/*[local-name()='title']");
  flow.author = package.text("//*[local-name()='metadata']/*[local-name()='creator']");
  const auto order = chapters(package, base);
  if (order.empty()) return broken("it names no chapters");
  if (is_protected(archive, order))
    return Status(Code::Unsupported, "The book is copy-protected; only a copy without protection can be read");
  const auto names = chapter_names(archive, package, base);
  size_t read = 0;
  Status first_problem;
  for (const std::string& file : order) {
    const auto page = archive.read(file);
    const size_t begin = flow.blocks.size();
    const Status status = page.ok() ? read_html(*page, flow) : page.status();
    if (!status.ok() && first_problem.ok()) first_problem = status;
    read += status.ok() ? 1 : 0;
    if (!status.ok()) flow.blocks.push_back(notice(status.message()));
    if (flow.blocks.size() == begin) continue;
    flow.blocks[begin].starts_chapter = true;
    const bool has_heading = std::any_of(flow.blocks.begin() + static_cast<long>(begin), flow.blocks.end(),
                                         [](const auto& block) { return block.kind == FlowKind::Heading; });
    if (const auto name = names.find(file); !has_heading && name != names.end()) flow.blocks[begin].name = name->second;
  }
  return read == 0 ? first_problem : Status();
}

}  // namespace longleaf::worker
