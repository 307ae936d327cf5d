# Writes the index of the pages that it is given: title and first sentence of each, by folder.
BEGIN {
  titles["core"] = "0: tensors, contexts, threads, numbers"
  titles["simd"] = "1: batches and elementary functions"
  titles["io"] = "1: safetensors and JSON"
  titles["kernels"] = "2: pure functions on pointers"
  titles["autograd"] = "2: the gradient tape"
  titles["ops"] = "3: where a kernel meets a tensor"
  titles["nn"] = "4: modules"
  titles["attention"] = "4: mixers"
  titles["conditioning"] = "4: adaptive norms and embeddings"
  titles["diffusion"] = "4: schedules, samplers, guidance"
  titles["stream"] = "5: stream blocks"
  titles["path"] = "5: dual-path blocks"
  titles["train"] = "5: optimizers and schedules"
  titles["explain"] = "5: relevance and circuits"
  titles["models"] = "6: one header per system"
  titles["distributed"] = "6: several processes"
  print "# Documentation"
  print ""
  print "A page for each public header of include/aulos, and what spans several of them. Every program on a page is compiled and"
  print "run by the tests, and prints what stands below it. `./dev docs` writes this file."
}

function finish(   end) {
  if (path == "") return
  gsub(/\]\([^)]*\)/, "]", text)  # links of the page lead elsewhere from here
  gsub(/\[|\]/, "", text)
  end = match(text, /[.]( |$)/)
  text = end ? substr(text, 1, end - 1) : text
  line = "- [" title "](" path "): " text
  if (folder != "") {
    if (folder != last_folder) printf "\n## %s/ (floor %s)\n\n", folder, titles[folder]
    print line
    last_folder = folder
  } else if (title ~ /\.hpp$/) {
    whole = whole line "\n"
  } else {
    guides = guides line "\n"
  }
  path = ""
}

# The guides and the headers of no folder come first, and are complete when the first folder begins.
function print_top() {
  if (top_printed) return
  printf "\n## Guides\n\n%s", guides
  if (whole != "") printf "\n## Headers that stand above the floors\n\n%s", whole
  top_printed = 1
}

FNR == 1 {
  finish()
  path = FILENAME
  sub(/^docs\//, "", path)
  folder = path ~ /\// ? substr(path, 1, index(path, "/") - 1) : ""
  if (!(folder in titles)) folder = ""  # of no floor: a guide
  if (folder != "") print_top()
  title = ""
  text = ""
  state = "title"
}
state == "title" && /^# / { title = substr($0, 3); state = "before"; next }
state == "before" && /./ { state = "text" }
state == "text" && (/^$/ || /^(#|```|[|] |- )/) { state = "done" }
state == "text" { text = text (text == "" ? "" : " ") $0 }
END { finish(); print_top() }
