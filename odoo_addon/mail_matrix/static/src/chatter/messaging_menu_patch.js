import {MessagingMenu} from "@mail/core/public_web/messaging_menu";
import {_t} from "@web/core/l10n/translation";
import {patch} from "@web/core/utils/patch";

patch(MessagingMenu.prototype, {
    openFailureView(failure) {
        if (failure.type !== "matrix") {
            return super.openFailureView(failure);
        }
        this.env.services.action.doAction({
            name: _t("Not Sent to Matrix"),
            type: "ir.actions.act_window",
            views: [
                [false, "list"],
                [false, "form"],
            ],
            res_model: failure.resModel,
            domain: [["id", "in", [...failure.resIds]]],
            context: {create: false},
        });
        this.dropdown.close();
    },
    getFailureNotificationName(failure) {
        return failure.type === "matrix"
            ? _t("Matrix Failure: %(model)s", {model: failure.modelName})
            : super.getFailureNotificationName(...arguments);
    },
});
