greet <- function(name, language = c("en", "de", "fr")) {
  word <- switch(match.arg(language), en = "Hello", de = "Hallo", fr = "Bonjour")
  paste0(word, ", ", name, "!")
}
