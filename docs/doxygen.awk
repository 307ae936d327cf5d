# Makes the plain comments of a header doxygen's: the first is about the header, every other that stands alone and
# touches a declaration is about that declaration. The inline namespace is hidden.
function markup(text,   parts, count, i, out) {
  gsub(/`\.`/, "'.'", text)  # a dot in a code span ends doxygen's brief
  gsub(/`\.\.`/, "'..'", text)
  count = split(text, parts, "`")
  for (i = 1; i <= count; ++i) {
    # Comments are prose: outside of `code` nothing is a command, a tag or a link.
    if (i % 2 == 1 || i == count) {
      gsub(/[\\@<>#%&]/, "\\\\&", parts[i])
      gsub(/::/, "\\::", parts[i])
    }
    out = out (i > 1 ? "`" : "") parts[i]
  }
  return out
}

function flush_block(documents,   i) {
  for (i = 1; i <= lines; ++i) {
    if (documents) sub(/\/\/ ?/, "/// ", block[i])
    print documents ? markup(block[i]) : block[i]
  }
  lines = 0
}

NR == 1 && /^\/\/ / { print "/// \\file"; in_head = 1 }
/^ *\/\/( |$)/ { block[++lines] = $0; next }
{
  flush_block(in_head || ($0 !~ /^ *$/ && $0 !~ /^ *[#}]/ && $0 !~ /^namespace /))
  in_head = 0
  sub(/^namespace aulos::inline AULOS_ISA/, "namespace aulos")
  print
}
END { flush_block(0) }
