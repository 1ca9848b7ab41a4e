import {Failure} from "@mail/core/common/failure_model";
import {_t} from "@web/core/l10n/translation";
import {patch} from "@web/core/utils/patch";

patch(Failure.prototype, {
    get iconSrc() {
        return this.type === "matrix"
            ? "/mail_matrix/static/img/matrix_failure.svg"
            : super.iconSrc;
    },
    get body() {
        return this.type === "matrix"
            ? _t("A message could not be sent to Matrix")
            : super.body;
    },
});
