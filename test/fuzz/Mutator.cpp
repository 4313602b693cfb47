//===- Mutator.cpp - changes that leave most of a module valid -------------===//
//
// Part of the sparseattn project.
//
// Random bytes rarely get past a parser. These changes work on words: numbers
// become other numbers, names other names of the same text, and lines move.
//
//===----------------------------------------------------------------------===//

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <cstring>
#include <random>
#include <string>

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

namespace {

struct Word {
  size_t begin, end;
};

/// Maximal runs of characters that make a name, a keyword or a number.
llvm::SmallVector<Word> findWords(llvm::StringRef text) {
  auto isWordChar = [](char c) { return llvm::isAlnum(c) || llvm::StringRef("_.%#!@?-").contains(c); };
  llvm::SmallVector<Word> words;
  for (size_t i = 0; i < text.size();) {
    size_t begin = i;
    while (i < text.size() && isWordChar(text[i]))
      ++i;
    if (i > begin)
      words.push_back({begin, i});
    else
      ++i;
  }
  return words;
}

llvm::SmallVector<Word> findLines(llvm::StringRef text) {
  llvm::SmallVector<Word> lines;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    lines.push_back({begin, end});
    begin = end;
  }
  return lines;
}

const char *const numbers[] = {"0",  "1",   "-1",         "2",          "3",          "7",
                               "16", "32",  "33",         "64",         "1024",       "1025",
                               "?",  "1.5", "2147483647", "2147483648", "4294967296", "9223372036854775807",
                               "-9223372036854775808", "1.0e-6", "0x7FF0000000000000", "0x7FF8000000000000"};

class Mutation {
public:
  Mutation(std::string text, unsigned seed) : text(std::move(text)), random(seed) {}

  std::string apply() {
    switch (pick(4)) {
    case 0:
      changeNumber();
      break;
    case 1:
      changeWord();
      break;
    case 2:
      moveLine();
      break;
    case 3:
      changeDimension();
      break;
    }
    return text;
  }

private:
  size_t pick(size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random); }

  void replace(Word word, llvm::StringRef by) { text.replace(word.begin, word.end - word.begin, by.str()); }

  llvm::StringRef get(Word word) const { return llvm::StringRef(text).slice(word.begin, word.end); }

  void changeNumber() {
    llvm::SmallVector<Word> words = findWords(text);
    llvm::erase_if(words, [&](Word word) { return !llvm::isDigit(text[word.begin]) && text[word.begin] != '-'; });
    if (!words.empty())
      replace(words[pick(words.size())], numbers[pick(std::size(numbers))]);
  }

  /// Another word of the same text with the same first character class.
  void changeWord() {
    llvm::SmallVector<Word> words = findWords(text);
    if (words.size() < 2)
      return;
    Word target = words[pick(words.size())];
    char first = text[target.begin];
    llvm::SmallVector<Word> others = words;
    llvm::erase_if(others, [&](Word word) {
      char c = text[word.begin];
      return llvm::isAlpha(first) ? !llvm::isAlpha(c) : c != first;
    });
    std::string by = get(others[pick(others.size())]).str();
    replace(target, by);
  }

  /// One size in `4x8x16xf32`, or its element type.
  void changeDimension() {
    llvm::SmallVector<Word> words = findWords(text);
    llvm::erase_if(words, [&](Word word) { return !get(word).contains('x'); });
    if (words.empty())
      return;
    Word word = words[pick(words.size())];
    llvm::SmallVector<llvm::StringRef> parts;
    std::string type = get(word).str();
    llvm::StringRef(type).split(parts, 'x');
    static const char *const elements[] = {"f32", "f16", "bf16", "i32", "f64", "index"};
    size_t i = pick(parts.size());
    if (i + 1 == parts.size())
      parts[i] = elements[pick(std::size(elements))];
    else if (pick(4) == 0)
      parts.erase(parts.begin() + i);
    else
      parts[i] = numbers[pick(std::size(numbers))];
    replace(word, llvm::join(parts, "x"));
  }

  /// Deletes a line, or copies it elsewhere.
  void moveLine() {
    llvm::SmallVector<Word> lines = findLines(text);
    if (lines.empty())
      return;
    Word line = lines[pick(lines.size())];
    if (pick(2) == 0) {
      replace(line, "");
      return;
    }
    std::string copy = get(line).str();
    text.insert(lines[pick(lines.size())].begin, copy);
  }

  std::string text;
  std::mt19937 random;
};

} // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  if (size < 2 || seed % 5 == 0)
    return LLVMFuzzerMutate(data, size, maxSize);
  std::string text = Mutation(std::string(reinterpret_cast<char *>(data) + 1, size - 1), seed).apply();
  size_t length = std::min(text.size(), maxSize - 1);
  std::memcpy(data + 1, text.data(), length);
  // Sometimes another pass sees the same module.
  if (seed % 7 == 0)
    data[0] = static_cast<uint8_t>('a' + seed / 7 % 26);
  return length + 1;
}
