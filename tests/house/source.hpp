// Just enough C++ to judge a header: its includes, and what it declares outside classes and functions.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace aulos_tests {

struct Include {
  std::string path;
  bool quoted = false;
  int line = 0;
};

struct Token {
  std::string text;
  int line = 0;
};

struct Source {
  std::vector<Include> includes;
  std::vector<Token> tokens;  // without comments, literals and directives
  int lines = 0;
};

inline bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Reads a source text: comments and the contents of literals are dropped, and directives are set apart.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Source read() {
    bool line_start = true;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        next();
        line_start = true;
      } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
        next();
      } else if (!skip_comment()) {
        if (c == '#' && line_start) {
          directive();
        } else {
          token();
        }
        line_start = false;
      }
    }
    source_.lines = line_ - (text_.empty() || text_.back() == '\n' ? 1 : 0);
    return std::move(source_);
  }

 private:
  bool starts(std::string_view what) const { return text_.substr(at_, what.size()) == what; }

  void next() { line_ += text_[at_++] == '\n' ? 1 : 0; }

  void skip_to(std::size_t end) {
    while (at_ < std::min(end, text_.size())) next();
  }

  bool skip_comment() {
    if (starts("//")) {
      skip_to(text_.find('\n', at_));
    } else if (starts("/*")) {
      const std::size_t end = text_.find("*/", at_ + 2);
      skip_to(end == std::string_view::npos ? end : end + 2);
    } else {
      return false;
    }
    return true;
  }

  // A directive ends with its line; a backslash or a comment may carry it on.
  void directive() {
    const int line = line_;
    std::string text;
    while (at_ < text_.size() && text_[at_] != '\n') {
      if (starts("\\\n")) {
        skip_to(at_ + 2);
      } else if (!skip_comment()) {
        text += text_[at_];
        next();
      }
    }
    const std::size_t name = text.find_first_not_of(" \t", 1);
    if (name == std::string::npos || text.compare(name, 7, "include") != 0) return;
    const std::size_t open = text.find_first_of("<\"", name);
    if (open == std::string::npos) return;
    const std::size_t close = text.find(text[open] == '<' ? '>' : '"', open + 1);
    source_.includes.push_back({text.substr(open + 1, close - open - 1), text[open] == '"', line});
  }

  void token() {
    const int line = line_;
    const std::size_t begin = at_;
    if (is_word(text_[at_])) {
      const bool number = std::isdigit(static_cast<unsigned char>(text_[at_])) != 0;
      while (at_ < text_.size() && (is_word(text_[at_]) || (number && text_[at_] == '\''))) next();
      const std::string word(text_.substr(begin, at_ - begin));
      if (at_ < text_.size() && text_[at_] == '"' && word.back() == 'R') return raw_string();
      source_.tokens.push_back({word, line});
    } else if (text_[at_] == '"' || text_[at_] == '\'') {
      const char quote = text_[at_];
      next();
      while (at_ < text_.size() && text_[at_] != quote) skip_to(at_ + (text_[at_] == '\\' ? 2 : 1));
      if (at_ < text_.size()) next();
    } else {
      skip_to(at_ + (starts("::") || starts("->") ? 2 : 1));
      source_.tokens.push_back({std::string(text_.substr(begin, at_ - begin)), line});
    }
  }

  void raw_string() {
    const std::size_t open = text_.find('(', at_);
    if (open == std::string_view::npos) return skip_to(open);
    const std::string close = ")" + std::string(text_.substr(at_ + 1, open - at_ - 1)) + "\"";
    const std::size_t end = text_.find(close, open);
    skip_to(end == std::string_view::npos ? end : end + close.size());
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  Source source_;
};

inline Source read_source(std::string_view text) { return Reader(text).read(); }

// Walks the declarations at header scope and lists what must not stand there: static functions and variables, unnamed
// namespaces, and variables that a program can change.
class ScopeCheck {
 public:
  explicit ScopeCheck(const std::vector<Token>& tokens) : tokens_(tokens) {}

  std::vector<std::string> run() {
    while (at_ < tokens_.size()) declaration();
    return std::move(faults_);
  }

 private:
  const std::string& peek(std::size_t ahead = 0) const {
    static const std::string none;
    return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead].text : none;
  }

  void fault(const std::string& what, std::size_t token) {
    faults_.push_back("line " + std::to_string(tokens_[token].line) + ": " + what);
  }

  // From an opening bracket to behind its partner.
  void skip_group() {
    const std::string open = peek();
    const std::string close = open == "(" ? ")" : open == "[" ? "]" : open == "{" ? "}" : ">";
    int depth = 0;
    do {
      if (open == "<" && peek() == "(") {
        skip_group();
        continue;
      }
      if (peek() == open) ++depth;
      if (peek() == close) --depth;
      ++at_;
    } while (depth > 0 && at_ < tokens_.size());
  }

  void skip_past_semicolon() {
    while (at_ < tokens_.size() && peek() != ";") {
      if (peek() == "(" || peek() == "[" || peek() == "{") {
        skip_group();
      } else {
        ++at_;
      }
    }
    ++at_;
  }

  void declaration() {
    const std::size_t start = at_;
    if (peek() == ";" || peek() == "}") {  // the end of a namespace: what follows is header scope again
      ++at_;
      return;
    }
    if (peek() == "namespace" || (peek() == "inline" && peek(1) == "namespace")) {
      at_ += peek() == "inline" ? 2 : 1;
      if (peek() == "{") fault("an unnamed namespace", start);
      while (at_ < tokens_.size() && peek() != "{" && peek() != ";") ++at_;
      ++at_;
      return;
    }
    if (peek() == "extern" && peek(1) == "{") {
      at_ += 2;
      return;
    }
    while (peek() == "template" && peek(1) == "<") {
      ++at_;
      skip_group();
    }
    static const std::vector<std::string> types{"class", "struct", "union", "enum"};
    static const std::vector<std::string> others{"using",  "typedef",       "concept",  "friend",
                                                 "extern", "static_assert", "template", "requires"};
    const bool is_type = std::count(types.begin(), types.end(), peek()) > 0;
    const bool is_other = std::count(others.begin(), others.end(), peek()) > 0;

    const std::size_t head = at_;
    bool function = false;
    bool is_operator = false;
    while (at_ < tokens_.size() && peek() != ";" && peek() != "{" && peek() != "}" && (peek() != "=" || is_operator)) {
      is_operator = is_operator || peek() == "operator";
      if (peek() == "(") function = true;
      if (peek() == "(" || peek() == "[") {
        skip_group();
      } else {
        ++at_;
      }
    }
    judge(head, is_type || is_other, function);

    if (peek() == "=" || is_type || (is_other && peek() != ";" && tokens_[head].text != "requires")) {
      skip_past_semicolon();
    } else if (peek() == "{") {
      skip_group();
      while (peek() == "," || peek() == "{") {  // further members of an initialiser list, then the body
        while (at_ < tokens_.size() && peek() != "{") ++at_;
        skip_group();
      }
      if (peek() == ";") ++at_;
    } else if (peek() == ";") {
      ++at_;
    }
  }

  void judge(std::size_t head, bool no_variable, bool function) {
    const auto begin = tokens_.begin() + static_cast<std::ptrdiff_t>(head);
    const auto end = tokens_.begin() + static_cast<std::ptrdiff_t>(at_);
    const auto find = [&](const char* word) {
      return std::find_if(begin, end, [&](const Token& token) { return token.text == word; });
    };
    if (find("static") != end) return fault("static at header scope", head);
    if (no_variable || function || begin == end || !is_word(begin->text[0]) || end - begin < 2) return;
    if (find("constexpr") != end) return;
    const auto last_const = std::find_if(std::make_reverse_iterator(end), std::make_reverse_iterator(begin),
                                         [](const Token& token) { return token.text == "const"; });
    const auto after_const = last_const.base();  // a pointer to const can still be changed itself
    const bool is_const = last_const.base() != begin &&
                          std::none_of(after_const, end, [](const Token& token) { return token.text == "*"; });
    if (!is_const) fault("a variable that can be changed, " + (end - 1)->text, head);
  }

  const std::vector<Token>& tokens_;
  std::size_t at_ = 0;
  std::vector<std::string> faults_;
};

inline std::vector<std::string> scope_faults(const Source& source) { return ScopeCheck(source.tokens).run(); }

}  // namespace aulos_tests
