# glmer's estimates for the models of glmm_peers.py, which reads them from glmm_peers_glmer.json:
#
#     Rscript benchmarks/glmm_peers.R > benchmarks/glmm_peers_glmer.json
#
# Maximum likelihood: by 25 adaptive quadrature points for cbpp, with its one effect, else by Laplace's approximation,
# which is all that glmer has for several. The data are lme4's own.
suppressPackageStartupMessages({
  library(lme4)
  library(jsonlite)
})

estimates <- function(formula, frame, family, points = 1) {
  seconds <- system.time(
    fit <- glmer(formula, frame, family, glmerControl("bobyqa", optCtrl = list(maxfun = 1e5)), nAGQ = points)
  )[["elapsed"]]
  common <- summary(fit)$coefficients
  sds <- as.data.frame(VarCorr(fit))
  list(
    method = if (points == 1) "Laplace" else "25 quadrature points", seconds = seconds,
    names = sub("(Intercept)", "Intercept", rownames(common), fixed = TRUE),
    estimates = unname(common[, 1]), errors = unname(common[, 2]), sds = setNames(as.list(sds$sdcor), sds$grp),
    messages = as.list(fit@optinfo$conv$lme4$messages)
  )
}

fits <- list(
  cbpp = estimates(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial(), 25),
  grouseticks = estimates(
    TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION), grouseticks, poisson()
  ),
  VerbAgg = estimates(r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item), VerbAgg, binomial())
)
about <- list(software = paste0("lme4 ", packageVersion("lme4"), ", ", R.version.string), fits = fits)
cat(toJSON(about, auto_unbox = TRUE, digits = 12, pretty = TRUE), "\n")
