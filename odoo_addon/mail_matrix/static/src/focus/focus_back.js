import {FormController} from "@web/views/form/form_controller";
import {formView} from "@web/views/form/form_view";
import {onWillUnmount} from "@odoo/owl";
import {registry} from "@web/core/registry";

// What was clicked last, with the mouse or by a key.
let clicked = null;
document.addEventListener(
    "click",
    ({target}) => {
        clicked = target.closest?.("button, a, [tabindex]");
    },
    {capture: true}
);

/**
 * When this dialog closes, the button that opened it has the focus again.
 *
 * Odoo's dialogs do so only if the button has the focus when they open. A button of a
 * view has lost it by then: Odoo disables it while its action is fetched.
 */
export function useFocusBack() {
    const opener = clicked;
    onWillUnmount(async () => {
        // As in Odoo's dialogs: the fields of this one lose the focus first.
        await Promise.resolve();
        if (document.activeElement === document.body) {
            opener?.focus();
        }
    });
}

class MatrixDialogController extends FormController {
    setup() {
        super.setup();
        useFocusBack();
    }
}

registry.category("views").add("matrix_dialog_form", {
    ...formView,
    Controller: MatrixDialogController,
});
