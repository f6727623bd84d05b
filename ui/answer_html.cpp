#include "ui/answer_html.h"

#include <QCoreApplication>

namespace longleaf::ui {
namespace {

QString tr(const char* text) { return QCoreApplication::translate("answerHtml", text); }

QString plain(const QString& text) { return text.toHtmlEscaped().replace('\n', "<br>"); }

QString sourceLink(const SourceItem& source, int message, int index) {
  const QString label = source.pageLabel.isEmpty() ? QString::number(source.page + 1) : source.pageLabel;
  return QStringLiteral(" <a href=\"source:%1:%2\" title=\"%3\">[%4]</a>")
      .arg(message)
      .arg(index)
      .arg(source.quote.toHtmlEscaped(), (label.startsWith(u'§') ? label : tr("page %1").arg(label)).toHtmlEscaped());
}

}  // namespace

QString answerHtml(const ChatItem& item, int message) {
  if (item.sources.isEmpty()) return plain(item.answer);
  // Sentences stand in the answer in order; what is between them (blank lines) is kept.
  QString html;
  qsizetype at = 0;
  for (int i = 0; i < item.sources.size(); ++i) {
    const SourceItem& source = item.sources[i];
    const qsizetype begin = item.answer.indexOf(source.sentence, at);
    if (begin > at) html += plain(item.answer.mid(at, begin - at));
    if (begin >= 0) at = begin + source.sentence.size();
    if (source.supported)
      html += plain(source.sentence) + sourceLink(source, message, i);
    else
      html += QStringLiteral("%1 <span style=\"color:#b03a2e\">%2</span>")
                  .arg(plain(source.sentence), tr("[no source found]"));
  }
  return html + plain(item.answer.mid(at));
}

}  // namespace longleaf::ui
