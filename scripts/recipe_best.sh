# What was measured to be better than the official settings, on scenes with exact depth (docs/results.md, "Training benchmark").
# Sourced by the drivers with RECIPE=best; whatever is set in the environment stays as it is.

FREEZE_BN="${FREEZE_BN:-0.67}" # with few samples a step, running statistics are not those that the weights learned with
case "$(basename "$0")" in
    run_train_unsup.sh)
        LOSS="${LOSS:-per_pixel}" # residuals per pixel, each stage counted once
        ;;
    run_train_kd.sh)
        LOSS="${LOSS:-paper}"             # the label's Gaussian over the hypotheses, as the paper has it
        THRES_VIEW="${THRES_VIEW:-3 3 2}" # few views see each pixel in small scans; the best teachers need fewer to agree
        START="${START:-teacher}"         # the student goes on from its teacher's weights
        READ_OUT="${READ_OUT:-local}"     # depth between the hypotheses
        ROUNDS="${ROUNDS:-3}"             # each helps, by less and less
        ;;
esac
