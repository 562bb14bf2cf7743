# lme4's fits, and ordinal's, of the models of scoreboard.py, which reads them from documented_glmms.jsonl:
#
#     Rscript benchmarks/documented_glmms.R FOLDER benchmarks/documented_glmms.jsonl
#
# FOLDER holds tables of the public registry MixedBench (scoreboard.py says which). One line a model, which is
# kept where the file has it. Maximum likelihood by Laplace's approximation, as glmer has it by default; where the only
# group effects are intercepts of one factor also by 25 adaptive quadrature points. Ordered responses go to clmm, logit
# link, whose names of thresholds are ours. Categories are coded by treatment
# contrasts, ordered ones too, so that names and values are those of our common effects.
suppressPackageStartupMessages({
  library(lme4)
  library(ordinal)
  library(jsonlite)
})
options(contrasts = c("contr.treatment", "contr.treatment"))
# as formulae has it: divided by the number of rows, not by one less
scale <- function(x) (x - mean(x)) / sqrt(mean((x - mean(x))^2))

arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]
out <- arguments[2]

table_of <- function(file, types) {
  frame <- read.csv(file.path(folder, paste0(file, ".csv.gz")), check.names = FALSE, na.strings = c("NA", ""))
  classes <- fromJSON(file.path(folder, paste0(file, ".json")))
  for (name in names(classes)) {
    levels <- classes[[name]]$levels
    if (!is.null(levels)) frame[[name]] <- factor(frame[[name]], levels = levels)
  }
  for (type in strsplit(types, ";")[[1]]) {
    name <- sub("=.*", "", type)
    if (!is.factor(frame[[name]])) frame[[name]] <- factor(frame[[name]])
  }
  frame
}

estimates <- function(fit) {
  common <- summary(fit)$coefficients
  sds <- as.data.frame(VarCorr(fit))
  sds <- sds[is.na(sds$var2), ]
  list(
    names = as.list(rownames(common)), estimates = as.list(unname(common[, 1])), errors = as.list(unname(common[, 2])),
    sds = setNames(as.list(sds$sdcor), sds$grp), singular = isSingular(fit),
    messages = as.list(fit@optinfo$conv$lme4$messages)
  )
}

fit <- function(model) {
  formula <- as.formula(model$formula)
  # within the formula's environment, where glmer looks for scale() and for the weights
  frame <- table_of(model$file, model$types)
  family <- if (model$response_type == "count") poisson() else binomial()
  is_share <- model$response_type == "binomial" && !grepl("cbind", model$formula, fixed = TRUE)
  frame$weight <- if (is_share) frame[[model$trials]] else 1
  by <- function(points) {
    glmer(formula, frame, family, glmerControl("bobyqa", optCtrl = list(maxfun = 1e5)), weights = weight, nAGQ = points)
  }
  seconds <- system.time(laplace <- by(1))[["elapsed"]]
  found <- list(status = "ok", rows = nobs(laplace), groups = as.list(ngrps(laplace)), seconds = seconds)
  found$laplace <- estimates(laplace)
  if (length(getME(laplace, "theta")) == 1) found$quadrature <- estimates(by(25))
  found
}

ordered_estimates <- function(fit) {
  common <- summary(fit)$coefficients
  sds <- lapply(ordinal::VarCorr(fit), function(one) attr(one, "stddev"))
  list(
    names = as.list(rownames(common)), estimates = as.list(unname(common[, 1])), errors = as.list(unname(common[, 2])),
    sds = setNames(as.list(unlist(sds, use.names = FALSE)), rep(names(sds), lengths(sds))), singular = FALSE,
    messages = as.list(if (fit$optRes$convergence == 0) character() else fit$optRes$message)
  )
}

ordered_fit <- function(model) {
  formula <- as.formula(model$formula)
  frame <- table_of(model$file, model$types)
  response <- as.character(formula[[2]])
  frame[[response]] <- as.ordered(frame[[response]])
  by <- function(points) clmm(formula, data = frame, link = "logit", nAGQ = points)
  seconds <- system.time(laplace <- by(1))[["elapsed"]]
  groups <- setNames(as.list(unname(laplace$dims$nlev.gf)), names(laplace$gfList))
  found <- list(status = "ok", rows = nobs(laplace), groups = groups, seconds = seconds)
  found$laplace <- ordered_estimates(laplace)
  if (length(found$laplace$sds) == 1) found$quadrature <- ordered_estimates(by(15))
  found
}

models <- read.csv(file.path(folder, "models.csv"), colClasses = "character")
models <- models[models$response_type %in% c("binary", "count", "binomial", "ordinal"), ]
done <- if (file.exists(out)) stream_in(file(out), verbose = FALSE)$id else character()
for (at in which(!models$id %in% done)) {
  model <- as.list(models[at, ])
  setTimeLimit(elapsed = 600, transient = TRUE)
  found <- tryCatch(suppressWarnings(if (model$response_type == "ordinal") ordered_fit(model) else fit(model)), error = function(error) {
    list(status = "failed", message = conditionMessage(error))
  })
  setTimeLimit(elapsed = Inf)
  line <- toJSON(c(list(id = model$id), found), auto_unbox = TRUE, digits = 12)
  cat(line, "\n", sep = "", file = out, append = TRUE)
  message(model$id, " ", found$status)
}
