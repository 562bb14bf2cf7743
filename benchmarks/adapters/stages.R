# The stages of one run for adapters in R: see stages.py, which this follows stage by stage.
#
# An adapter sources this file and calls run(library), a list of
#   packages    names, for the versions
#   note        how its model differs from ours
#   fit         function(frame, spec): the fitted model
#   predict     function(model, rows, spec): mean of rows; levels that were not fitted count as zero, or average to it
#   draws       function(model, spec): list of arrays (iteration, chain) or (iteration, chain, k) by our names; or NULL
#   estimates   function(model, spec): named list of point estimates, where there are no draws

MAX_LEVELS <- 3000

seconds_of <- function(task) {
  started <- proc.time()[["elapsed"]]
  force(task())
  proc.time()[["elapsed"]] - started
}

# of processors, by this process and those that it has started and seen end
processor_seconds <- function() sum(proc.time()[c("user.self", "sys.self", "user.child", "sys.child")])

# R's clock counts milliseconds: short calls are repeated until they last
latency <- function(task) {
  first <- seconds_of(task)
  calls <- max(1, min(200, floor(0.1 / max(first, 1e-3))))
  repeats <- if (first < 0.5) 7 else 2
  median(replicate(repeats, seconds_of(function() for (i in seq_len(calls)) task()) / calls))
}

# the most memory this process has held, where the system tells (Linux)
peak_mb <- function() {
  status <- tryCatch(readLines("/proc/self/status"), error = function(e) character())
  line <- grep("^VmHWM:", status, value = TRUE)
  if (length(line)) as.numeric(gsub("[^0-9]", "", line)) / 1024 else NULL
}

# R's (iteration, chain, parameter) is (chain, draw, parameter) of NumPy with the first two axes exchanged
save_npy <- function(draws, path) {
  parts <- lapply(draws, function(x) array(x, c(dim(x)[1:2], length(x) / prod(dim(x)[1:2]))))
  all <- array(unlist(parts), c(dim(parts[[1]])[1:2], sum(sapply(parts, function(x) dim(x)[3]))))
  all <- aperm(all, c(2, 1, 3))
  header <- sprintf("{'descr': '<f8', 'fortran_order': True, 'shape': (%s), }", paste(dim(all), collapse = ", "))
  length <- 64 * ceiling((11 + nchar(header)) / 64) - 10
  header <- paste0(header, strrep(" ", length - nchar(header) - 1), "\n")
  file <- file(path, "wb")
  on.exit(close(file))
  writeBin(c(as.raw(0x93), charToRaw("NUMPY"), as.raw(c(1, 0))), file)
  writeBin(as.integer(length), file, size = 2, endian = "little")
  writeBin(charToRaw(header), file)
  writeBin(as.vector(all), file, endian = "little")
}

kept <- function(n) unique(floor(seq(0, n - 1, length.out = min(n, MAX_LEVELS)))) + 1

read_frame <- function(path, spec) {
  frame <- as.data.frame(data.table::fread(path))
  for (column in unique(unlist(lapply(spec$groups, function(group) group$columns)))) {
    frame[[column]] <- factor(frame[[column]])
  }
  frame
}

# group effects of a bar that do not correlate are two bars in R's formulas
r_formula <- function(spec) {
  bars <- sapply(spec$groups, function(group) {
    effects <- c("1", group$effects[-1])
    name <- paste(group$columns, collapse = ":")
    if (group$correlated || length(effects) == 1) return(sprintf("(%s | %s)", paste(effects, collapse = " + "), name))
    paste(sprintf("(%s | %s)", c("1", paste("0 +", effects[-1])), name), collapse = " + ")
  })
  left <- if (is.null(spec$trials)) spec$response else sprintf("cbind(%s, %s - %s)", spec$response, spec$trials, spec$response)
  as.formula(paste(left, "~", paste(c("1", unlist(spec$common), bars), collapse = " + ")))
}

r_family <- function(spec) {
  switch(spec$family, bernoulli = binomial(), binomial = binomial(), poisson = poisson(), NULL)
}

# of a share the expected number of successes
of_trials <- function(mean, rows, spec) if (is.null(spec$trials)) mean else mean * rows[[spec$trials]]

cross_validate <- function(library, frame, spec) {
  started <- proc.time()[["elapsed"]]
  errors <- numeric()
  for (fold in 0:9) {
    test <- unlist(spec$folds) == fold
    train <- droplevels(frame[!test, ])
    model <- library$fit(train, spec)
    errors <- c(errors, frame[test, spec$response] - library$predict(model, frame[test, ], spec))
    seconds <- proc.time()[["elapsed"]] - started
    if (seconds > spec$fold_seconds) break
  }
  list(cv = seconds * 10 / (fold + 1), folds = fold + 1, rmse = sqrt(mean(errors^2)))
}

keep_draws <- function(library, model, spec, path) {
  draws <- if (is.null(library$draws)) NULL else library$draws(model, spec)
  if (is.null(draws)) return(lapply(library$estimates(model, spec), function(x) list(x)))
  save_npy(draws, path)
  lapply(draws[!startsWith(names(draws), "b_")], function(x) c(mean(x), sd(x)))
}

run <- function(library) {
  imported <- proc.time()[["elapsed"]]
  arguments <- commandArgs(trailingOnly = TRUE)
  spec <- jsonlite::read_json(arguments[2])
  values <- list()
  add <- function(...) {
    values <<- modifyList(values, list(...))
    temporary <- sub("json$", "tmp", arguments[3])
    jsonlite::write_json(values, temporary, auto_unbox = TRUE, digits = NA)
    file.rename(temporary, arguments[3])
  }
  frame <- read_frame(arguments[1], spec)
  read <- proc.time()[["elapsed"]]
  cpu <- processor_seconds()
  model <- library$fit(frame, spec)
  used <- processor_seconds()
  usable_at <- as.numeric(Sys.time())
  fitted <- proc.time()[["elapsed"]]
  peak <- peak_mb()
  add(usable_at = usable_at, inside = fitted - imported, read = read - imported, fit = fitted - read)
  add(cpu_fresh = used, cpu_fit = used - cpu, cpu_fresh_container = used, cpu_fit_container = used - cpu)
  add(container = 0, container_at = usable_at, peak_fit_mb = peak, peak_container_mb = peak)
  versions <- lapply(setNames(library$packages, library$packages), function(name) as.character(packageVersion(name)))
  add(note = library$note, versions = c(list(R = paste(R.version$major, R.version$minor, sep = ".")), versions))
  add(estimates = keep_draws(library, model, spec, sub("json$", "npy", arguments[3])))
  set.seed(0)
  for (n in c(1, 1000)) {
    rows <- frame[sample(nrow(frame), n, replace = TRUE), ]
    do.call(add, setNames(list(latency(function() library$predict(model, rows, spec))), paste0("predict_", n)))
  }
  if (spec$refit) {
    cpu <- processor_seconds()
    add(refit = seconds_of(function() model <<- library$fit(frame, spec)), recontainer = 0)
    used <- processor_seconds() - cpu
    add(cpu_refit = used, cpu_refit_container = used)
  }
  if (!is.null(spec$folds)) do.call(add, cross_validate(library, frame, spec))
}
