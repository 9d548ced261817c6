summarise <- function(name, x) {
  paste(greet(name), "Your numbers come in", length(runs(x)), "runs.")
}
